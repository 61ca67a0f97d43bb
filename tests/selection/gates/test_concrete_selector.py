"""Concrete selectors: values and gradients by hand, duplicates, and the best assignment to different features."""

import itertools

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from discrete_lightning.estimators import DisARM, GumbelSoftmax, LeaveOneOut, ReinMax
from discrete_lightning.functional import gumbel_softmax
from discrete_lightning.layers.recorded import made, recorded
from discrete_lightning.selection import ConcreteSelector
from discrete_lightning.selection.gates.concrete_selector import assigned
from tests.references.inputs import leaf, seeded


def with_logits(layer: ConcreteSelector, logits: Tensor) -> ConcreteSelector:
    with torch.no_grad():
        layer.logits.copy_(logits)
    return layer


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (3, 3), (4, 9), (8, 8), (10, 40)])
def test_the_assignment_has_the_largest_sum(rows: int, columns: int) -> None:
    for seed in range(12):
        gains = torch.randn(rows, columns, generator=seeded(seed)) * 3
        if seed % 3 == 0:
            gains = gains.round()  # ties
        if seed % 4 == 0:
            gains = gains + 4 * torch.arange(columns).flip(0)  # all rows want the same columns
        found = assigned(gains)
        assert len(set(found.tolist())) == rows
        best = linear_sum_assignment(gains.double().numpy(), maximize=True)
        total = gains.double().gather(1, found.unsqueeze(1)).sum().item()
        assert total == pytest.approx(float(gains.double().numpy()[best].sum()), abs=1e-9)


def test_the_assignment_by_all_permutations() -> None:
    gains = torch.tensor([[5.0, 4.0, 0.0, 1.0], [5.0, 1.0, 0.0, 0.0], [4.5, 4.4, 0.0, 2.0]])
    every = list(itertools.permutations(range(4), 3))
    best = max(every, key=lambda columns: sum(float(gains[i, j]) for i, j in enumerate(columns)))
    assert tuple(assigned(gains).tolist()) == best == (1, 0, 3)


@pytest.mark.parametrize("per", ["row", "batch"])
@pytest.mark.parametrize("shape", [(5,), (6, 5), (6, 3, 5), (2, 3, 4, 5)], ids=str)
def test_values_and_gradients_by_hand(shape: tuple[int, ...], per: str) -> None:
    layer = ConcreteSelector(2, 5, per=per, temperature=0.6)  # type: ignore[arg-type]
    with_logits(layer, torch.randn(2, 5, generator=seeded(0)))
    x, found = torch.randn(shape, generator=seeded(1)), []
    v = torch.randn(*shape[:-1], 2, generator=seeded(2))
    torch.manual_seed(3)
    y = layer(x)
    assert y.shape == (*shape[:-1], 2)
    found.append((y.detach(), torch.autograd.grad((y * v).sum(), layer.logits)[0]))
    torch.manual_seed(3)
    rows = shape[0] if per == "row" and len(shape) > 1 else 1
    logits = leaf(layer.logits.detach())
    m = gumbel_softmax(logits.expand(rows, 2, 5) if rows > 1 else logits, 0.6)
    by_row = x.reshape(rows, -1, 5)
    z = torch.stack([part @ (m[r] if rows > 1 else m).mT for r, part in enumerate(by_row)]).reshape(y.shape)
    found.append((z.detach(), torch.autograd.grad((z * v).sum(), logits)[0]))
    torch.testing.assert_close(*found)


def test_draws_of_a_row_or_of_the_batch() -> None:
    x = torch.arange(5.0).expand(30, 5)
    torch.manual_seed(0)
    assert len(ConcreteSelector(2, 5, per="row")(x).unique(dim=0)) == 30
    assert len(ConcreteSelector(2, 5)(x).unique(dim=0)) == 1


def test_duplicates() -> None:
    """sum_j relu(sum_i p_ij - 1) and its gradient, naively in float64."""
    layer = with_logits(ConcreteSelector(3, 4), torch.randn(3, 4, generator=seeded(4)) * 3)
    layer.duplicates().backward()
    a = layer.logits.detach().double().requires_grad_()
    p = torch.exp(a) / torch.exp(a).sum(1, keepdim=True)
    terms = [p[0, j] + p[1, j] + p[2, j] - 1 for j in range(4)]
    assert any(each > 0 for each in terms)
    wanted = torch.stack([each for each in terms if each > 0]).sum()
    wanted.backward()
    torch.testing.assert_close(layer.duplicates().double(), wanted, rtol=1e-5, atol=1e-6)
    assert layer.logits.grad is not None
    torch.testing.assert_close(layer.logits.grad.double(), a.grad, rtol=1e-4, atol=1e-6)
    assert with_logits(layer, 20 * torch.eye(4)[:3]).duplicates() == 0
    same = with_logits(layer, 20 * torch.eye(4)[:1].expand(3, 4)).duplicates()
    assert same.item() == pytest.approx(2, abs=1e-4)


def test_eval_takes_different_features() -> None:
    """Also where all selectors want the same: the most certain one gets it."""
    logits = torch.tensor([[3.0, 2.9, 0.0, 0.0], [6.0, 0.0, 0.0, 0.1], [4.0, 0.0, 3.5, 0.0]])
    layer = with_logits(ConcreteSelector(3, 4), logits).eval()
    assert layer.features().tolist() == [1, 0, 2]
    assert layer.open().tolist() == [True, True, True, False]
    x = torch.randn(2, 6, 4, generator=seeded(5))
    assert torch.equal(layer(x), x[..., [1, 0, 2]])
    torch.manual_seed(0)
    for k, size in [(1, 1), (5, 5), (4, 30)]:
        layer = ConcreteSelector(k, size).eval()
        assert len(set(layer.features().tolist())) == k == int(layer.open().sum())
        before = torch.get_rng_state()
        layer(torch.ones(2, size))
        assert torch.equal(torch.get_rng_state(), before)


def test_dtypes() -> None:
    layer = ConcreteSelector(2, 5).bfloat16()
    x = torch.randn(3, 5).bfloat16()
    assert layer.logits.dtype == layer.duplicates().dtype == torch.float32
    assert layer(x).dtype == layer.eval()(x).dtype == torch.bfloat16


def test_plain_data() -> None:
    layer = ConcreteSelector(2, 5, ReinMax(), "row", 0.3)
    twin = made(recorded(layer))
    assert (twin.k, twin.size, twin.per, twin.sampler.estimator) == (2, 5, "row", ReinMax())
    assert ConcreteSelector(2, 5).sampler.estimator == GumbelSoftmax()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((0, 3), "1 to 3 of 3, got 0"),
        ((4, 3), "1 to 3 of 3, got 4"),
        ((1, 0), "size must be at least 1"),
        ((1, 3, None, "all"), "per must be 'row' or 'batch', got 'all'"),
        ((1, 3, LeaveOneOut()), "needs the loss's value"),
        ((1, 3, DisARM()), "is for binary variables"),
    ],
)
def test_errors(arguments: tuple[object, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        ConcreteSelector(*arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("training", [True, False])
def test_another_number_of_features(training: bool) -> None:
    with pytest.raises(ValueError, match=r"selects of 3 features, and x has shape \(2, 4\)"):
        ConcreteSelector(1, 3).train(training)(torch.ones(2, 4))
