"""A forward pass of VectorQuantizer: codes, gradients, precision, errors, export (updates: test_codebook_updates)."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.nn import VectorQuantizer
from tests.references.codebook import nearest


def quantizer(num_codes: int = 8, dim: int = 4, **options: float) -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(num_codes, dim, **{"kmeans_iterations": 0, **options})  # type: ignore[arg-type]


def some_vectors(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 5, 4), (0, 4)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_gives_the_nearest_code_bit_for_bit(shape: tuple[int, ...], training: bool, dtype: torch.dtype) -> None:
    layer, vectors = quantizer().train(training), some_vectors(*shape).to(dtype)
    result = layer(vectors)
    if vectors.numel():
        assert torch.equal(result.indices, nearest(vectors.reshape(-1, 4), layer.codes).view(shape[:-1]))
    assert torch.equal(result.quantized, layer.codes[result.indices].to(dtype))
    assert result.quantized.dtype == dtype
    assert result.indices.dtype == torch.int64
    assert result.indices.shape == shape[:-1]
    assert torch.equal(layer.decode(result.indices), layer.codes[result.indices])
    assert result.loss.shape == ()
    assert result.loss.isfinite()
    assert result.logits is None


@pytest.mark.parametrize("commitment", [0.0, 0.25, 2.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("training", [True, False])
def test_gradient_is_straight_through_and_commitment(
    commitment: float, dtype: torch.dtype, tolerance: float, training: bool
) -> None:
    layer = quantizer(commitment=commitment).train(training)
    vectors = some_vectors(3, 5, 4).to(dtype).requires_grad_()
    weights = some_vectors(3, 5, 4, seed=2).to(dtype)
    codes = layer.codes.double()[nearest(vectors.detach().reshape(-1, 4), layer.codes)].view(3, 5, 4)
    difference = vectors.detach().double() - codes
    result = layer(vectors)
    assert result.loss.item() == pytest.approx(commitment * difference.square().mean().item(), rel=1e-5)
    ((result.quantized * weights).sum() + result.loss).backward()
    expected = weights.double() + commitment * 2 * difference / difference.numel()
    torch.testing.assert_close(vectors.grad.double(), expected, rtol=tolerance, atol=tolerance)  # type: ignore[union-attr]


def test_the_codes_get_no_gradient() -> None:
    layer = quantizer()
    assert not layer.codes.requires_grad
    result = layer(some_vectors(40, 4).requires_grad_())
    (result.quantized.sum() + result.loss).backward()
    assert all(each.grad is None for each in layer.parameters())


@pytest.mark.parametrize("precision", ["autocast", "input", "module"])
@pytest.mark.parametrize("training", [True, False])
def test_bf16_chooses_as_float32_does(precision: str, training: bool) -> None:
    layer = quantizer(256, 16).train(training)
    vectors = some_vectors(2000, 16) if precision == "autocast" else some_vectors(2000, 16).bfloat16()
    expected = nearest(vectors, layer.codes)
    if precision == "module":
        layer.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        result = layer(vectors)
    assert (result.indices != expected).sum() == 0
    assert torch.equal(result.quantized, layer.codes[expected].to(vectors.dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_state_stays_float32(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 4), quantizer())
    before = copy.deepcopy(model[1].state_dict())
    assert before.keys() == {"codes", "counts", "sums", "started", "updates", "trainable.0"}
    del before["trainable.0"]  # has no value of its own, and is cast with the model
    after = model.to(dtype)[1].state_dict()
    assert model[0].weight.dtype == dtype
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        assert torch.equal(after[name], value)


def test_made_under_a_bf16_default() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        layer = VectorQuantizer(4, 2)
        layer(some_vectors(3, 2).bfloat16())  # fewer vectors than codes
    finally:
        torch.set_default_dtype(torch.float32)
    state = {name: value for name, value in layer.state_dict().items() if name != "trainable.0"}
    assert {value.dtype for value in state.values()} == {torch.float32, torch.bool, torch.int64}
    assert layer.codes.isfinite().all()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"num_codes": 1}, "num_codes=1"),
        ({"dim": 0}, "dim=0"),
        ({"decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
        ({"decay": -0.1}, "decay must be"),
        ({"decay": math.nan}, "decay must be .*nan"),
        ({"commitment": -1.0}, "commitment must be >= 0, got -1.0"),
        ({"revive_below": 1.0}, "revive_below must be"),
        ({"kmeans_iterations": -1}, "kmeans_iterations must be >= 0, got -1"),
    ],
)
def test_bad_arguments(options: dict[str, float], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        quantizer(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 5), (3,), (2, 4, 7, 7)])
def test_wrong_dimension(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"VectorQuantizer .* dimension 4, last; got shape \({shape[0]}.*movedim"):
        quantizer()(torch.zeros(shape))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(("training", "iterations"), [(True, 0), (True, 5), (False, 0)])
def test_vectors_that_are_not_finite(bad: float, training: bool, iterations: int) -> None:
    layer, vectors = quantizer(kmeans_iterations=iterations).train(training), some_vectors(10, 4)
    vectors[3, 1] = vectors[7, 2] = vectors[7, 3] = bad
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=r"2 of 10 vectors .*not finite"):
        layer(vectors)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_between_backward_and_step_leaves_the_original_alone(duplicate: Callable[[Any], Any]) -> None:
    layer = quantizer()
    layer(some_vectors(20, 4))
    twin = duplicate(layer)
    before = layer.codes.clone()
    twin(some_vectors(30, 4, seed=2))
    twin.update()
    assert (int(twin.updates), int(layer.updates)) == (1, 0)
    assert torch.equal(layer.codes, before)
    layer.update()
    twin.update()  # nothing is left
    assert (int(twin.updates), int(layer.updates)) == (1, 1)
    assert not torch.equal(layer.codes, before)


def test_evaluation_is_exported_with_any_batch() -> None:
    layer = quantizer().eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layer, (some_vectors(3, 5, 4),), dynamic_shapes=shapes).module()
    for batch in (1, 8):
        vectors = some_vectors(batch, 5, 4, seed=batch)
        for got, wanted in zip(program(vectors)[:3], layer(vectors)[:3], strict=True):
            torch.testing.assert_close(got, wanted)
