import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator, GumbelSoftmax, StraightThrough, StraightThroughGumbel
from discrete_lightning.nn import GumbelQuantizer, Temperature
from tests.references.goodness_of_fit import chi_square_p

ESTIMATORS = [GumbelSoftmax(), StraightThroughGumbel(), StraightThrough()]
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)


def quantizer(
    num_codes: int = 6, dim: int = 4, estimator: Estimator | None = None, temperature: Temperature | float = 0.8
) -> GumbelQuantizer:
    torch.manual_seed(0)
    return GumbelQuantizer(num_codes, dim, estimator, temperature)


def some_vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 5, 4), (0, 4)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shapes_and_dtypes(shape: tuple[int, ...], training: bool, dtype: torch.dtype) -> None:
    result = quantizer().train(training).to(dtype)(some_vectors(*shape).to(dtype))
    assert result.quantized.shape == shape
    assert result.quantized.dtype == dtype
    assert result.indices.shape == shape[:-1]
    assert result.indices.dtype == torch.int64
    assert result.logits.shape == (*shape[:-1], 6)
    assert result.loss.shape == ()
    assert result.loss.dtype == torch.float32
    assert result.loss.item() == 0


def test_evaluation_looks_up_the_most_likely_code() -> None:
    layer, vectors = quantizer().eval(), some_vectors(50, 4)
    state = torch.get_rng_state()
    result = layer(vectors)
    expected = (vectors @ layer.to_logits.weight.T + layer.to_logits.bias).argmax(-1)
    assert torch.equal(result.indices, expected)
    assert len(expected.unique()) > 3
    assert torch.equal(result.quantized, layer.codes[expected])
    assert torch.equal(layer.decode(expected), layer.codes[expected])
    assert torch.equal(torch.get_rng_state(), state)


@each_estimator
@pytest.mark.parametrize("learnable", [True, False])
def test_gradient_is_the_estimators(estimator: Estimator, learnable: bool) -> None:
    layer = quantizer(estimator=estimator, temperature=Temperature(0.8, learnable=learnable))
    vectors, target = some_vectors(7, 4), torch.ones(4)
    leaves = [vectors, *layer.parameters()]
    assert len(leaves) == 4 + learnable

    def gradients(quantized: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((quantized - target).square().sum(), leaves)

    torch.manual_seed(2)
    result = layer(vectors)
    torch.manual_seed(2)
    logits = vectors @ layer.to_logits.weight.T + layer.to_logits.bias
    sample = estimator(logits, layer.sample.temperature())
    torch.testing.assert_close(result.quantized, sample @ layer.codes)
    assert torch.equal(result.indices, sample.argmax(-1))
    for got, wanted in zip(gradients(result.quantized), gradients(sample @ layer.codes), strict=True):
        torch.testing.assert_close(got, wanted)
        assert wanted.abs().sum() > 0


@pytest.mark.parametrize("estimator", ESTIMATORS[1:], ids=str)
def test_temperature_changes_the_gradient_and_not_the_choice(estimator: Estimator) -> None:
    layer, vectors = quantizer(estimator=estimator), some_vectors(200, 4)
    results, gradients = [], []
    for tau in (0.1, 5.0):
        layer.sample.temperature.set(tau)
        torch.manual_seed(3)
        results.append(layer(vectors))
        gradients.append(torch.autograd.grad(results[-1].quantized.square().sum(), vectors)[0])
    assert torch.equal(results[0].indices, results[1].indices)
    assert len(results[0].indices.unique()) == 6
    assert torch.equal(results[0].quantized, results[1].quantized)
    assert not torch.allclose(*gradients)


@pytest.mark.parametrize("tau", [0.1, 1.0, 10.0])
def test_training_samples_the_distribution_of_the_logits(tau: float) -> None:
    layer, count = quantizer(temperature=tau), 20_000
    torch.manual_seed(4)
    result = layer(some_vectors(4).expand(count, 4))
    assert chi_square_p(result.indices.bincount(minlength=6), result.logits[0].detach().softmax(-1)) > 1e-4


@each_estimator
@pytest.mark.parametrize("tau", [0.5, 10.0])
@pytest.mark.parametrize("precision", ["autocast", "module"])
def test_bf16_chooses_as_float32_does(estimator: Estimator, tau: float, precision: str) -> None:
    layer, vectors = quantizer(64, 8, estimator, tau), some_vectors(2000, 8)
    if precision == "module":
        layer, vectors = layer.bfloat16(), vectors.bfloat16()
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        result = layer(vectors)
    assert result.logits.dtype == torch.bfloat16
    assert result.quantized.dtype == vectors.dtype
    torch.manual_seed(5)
    expected = layer.sample(result.logits.float())
    assert (result.indices != expected.argmax(-1)).sum() == 0


@pytest.mark.parametrize("shape", [(4, 5), (3,)])
def test_wrong_dimension(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"dimension 4, last; got shape \({shape[0]}.*movedim"):
        quantizer()(torch.zeros(shape))


@pytest.mark.parametrize(("num_codes", "dim"), [(1, 4), (0, 4), (4, 0)])
def test_too_small(num_codes: int, dim: int) -> None:
    with pytest.raises(ValueError, match=f"num_codes={num_codes}, dim={dim}"):
        GumbelQuantizer(num_codes, dim)


def test_nan_vectors() -> None:
    with pytest.raises(ValueError, match=r"GumbelQuantizer: 1 of 2 vectors .* not finite"):
        quantizer()(torch.tensor([[0.0] * 4, [torch.nan] * 4]))


def test_evaluation_is_exported_with_any_batch() -> None:
    layer = quantizer().eval()
    example = (some_vectors(3, 5, 4).detach(),)
    program = torch.export.export(layer, example, dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for batch in (1, 8):
        vectors = some_vectors(batch, 5, 4).detach()
        quantized, indices, *_ = program(vectors)
        expected = layer(vectors)
        assert torch.equal(quantized, expected.quantized)
        assert torch.equal(indices, expected.indices)
