"""A table looked up by samples, against a float64 product and against nn.Embedding."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import ReinMax
from discrete_lightning.nn import RelaxedCategorical, RelaxedEmbedding, relaxed
from tests.references.inputs import leaf, seeded

CODES, DIM = 7, 3


def layer() -> RelaxedEmbedding:
    torch.manual_seed(0)
    return RelaxedEmbedding(CODES, DIM)


def mixtures(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.softmax(torch.randn(*shape, CODES, generator=seeded(1)), -1).to(dtype)


def one_hot(*shape: int) -> Tensor:
    indices = torch.randint(CODES, shape, generator=seeded(2))
    return nn.functional.one_hot(indices, CODES).float()


@pytest.mark.parametrize("shape", [(), (4,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_training_is_a_product_with_its_gradients(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    embedding, samples = layer(), mixtures(*shape, dtype=dtype).requires_grad_()
    rows = embedding(samples)
    assert (rows.shape, rows.dtype) == ((*shape, DIM), torch.float32)
    weights = torch.randn(rows.shape, generator=seeded(3))
    (rows * weights).sum().backward()
    expected_samples, table = leaf(samples.detach(), torch.float64), leaf(embedding.weight.detach(), torch.float64)
    expected = (expected_samples.unsqueeze(-1) * table).sum(-2)
    (expected * weights).sum().backward()
    torch.testing.assert_close(rows.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(embedding.weight.grad.double(), table.grad, rtol=1e-6, atol=1e-6)
    tolerance = torch.finfo(dtype).eps * 8
    torch.testing.assert_close(samples.grad.double(), expected_samples.grad, rtol=tolerance, atol=tolerance)
    assert samples.grad.dtype == dtype


@pytest.mark.parametrize("shape", [(), (4,), (2, 5), (0,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_evaluation_is_a_look_up_to_the_bit(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    embedding, samples = layer().to(dtype), one_hot(*shape).to(dtype)
    trained = embedding(samples)
    rows = embedding.eval()(samples)
    assert rows.dtype == dtype
    assert torch.equal(rows, trained)
    assert torch.equal(rows, nn.functional.embedding(samples.argmax(-1), embedding.weight))
    assert torch.equal(rows, embedding.look_up(samples.argmax(-1)))


def test_the_table_gets_the_gradient_of_a_look_up_in_evaluation() -> None:
    embedding, samples = layer().eval(), one_hot(20)
    embedding(samples).square().sum().backward()
    expected = leaf(embedding.weight.detach())
    (samples @ expected).square().sum().backward()
    torch.testing.assert_close(embedding.weight.grad, expected.grad)


def test_a_frozen_model_in_evaluation_tells_every_entry_of_a_sample_its_gradient() -> None:
    embedding, samples = layer().eval().requires_grad_(False), one_hot(4).requires_grad_()
    g = torch.randn(4, DIM, generator=seeded(4))
    embedding(samples).backward(g)
    torch.testing.assert_close(samples.grad, g @ embedding.weight.t())


def test_rows_that_are_zero_or_not_a_number_stay_what_they_are() -> None:
    samples = one_hot(3)
    samples[0], samples[1] = 0.0, math.nan
    for embedding in (layer(), layer().eval()):
        rows = embedding(samples)
        assert not rows[0].any()
        assert rows[1].isnan().all()
        assert rows[2].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_masked_categories_neither_mix_nor_learn(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    embedding, choose = layer(), RelaxedCategorical(ReinMax())
    logits = torch.randn(30, CODES, generator=seeded(5)).to(dtype)
    logits[:, 2:4] = -math.inf
    logits.requires_grad_()
    embedding(choose(logits)).square().sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    assert not logits.grad[:, 2:4].any()
    assert embedding.weight.grad.isfinite().all()
    assert not embedding.weight.grad[2:4].any()


def test_inside_relaxed_it_mixes_rows_as_in_training() -> None:
    model = nn.Sequential(RelaxedCategorical(ReinMax()), layer()).eval()
    with torch.no_grad(), relaxed(model):
        assert model[1].training
        assert torch.equal(model[1](mixtures(4)), mixtures(4) @ model[1].weight)
    assert not model[1].training


def test_autocast_changes_no_dtype() -> None:
    for embedding in (layer(), layer().eval()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert embedding(one_hot(4)).dtype == torch.float32


def test_a_tied_table_is_one_parameter_also_in_copies_and_checkpoints() -> None:
    logits = nn.Linear(DIM, CODES)
    model = nn.ModuleList([logits, RelaxedEmbedding.tied_to(logits.weight)])
    assert len(list(model.parameters())) == 2
    model[1](one_hot(4)).sum().backward()
    assert logits.weight.grad is not None
    twin = copy.deepcopy(model)
    assert twin[1].weight is twin[0].weight
    twin.load_state_dict(model.state_dict())
    model[1].reset_parameters()
    assert torch.equal(model[0].weight, model[1].weight)
    assert not torch.equal(model[0].weight, twin[0].weight)


def test_checkpoints_of_an_embedding_serve() -> None:
    given, embedding = nn.Embedding(CODES, DIM), layer()
    embedding.load_state_dict(given.state_dict())
    indices = torch.arange(CODES)
    assert torch.equal(embedding.look_up(indices), given(indices))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(4, CODES + 1), r"samples of shape \(..., 7\) look up a table \(7, 3\), got \(4, 8\)"),
        (torch.tensor(1.0), r"got \(\)"),
        (torch.zeros(4, CODES, dtype=torch.int64), r"samples must be floating, got torch.int64: use `look_up`"),
    ],
)
def test_other_samples_are_refused(samples: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer()(samples)


def test_bad_tables() -> None:
    with pytest.raises(ValueError, match="needs sizes >= 1, got 0 and 3"):
        RelaxedEmbedding(0, 3)
    with pytest.raises(ValueError, match=r"\(K, D\), got \(4,\)"):
        RelaxedEmbedding.tied_to(nn.Parameter(torch.zeros(4)))
