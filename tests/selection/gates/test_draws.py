"""What Gate and SelectK draw, against the stated distributions: chi-square tests with p > 1e-4, fixed seeds."""

from typing import TypeVar

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import SIMPLE, DisARM, Estimator, LeaveOneOut
from discrete_lightning.functional import subset_marginals
from discrete_lightning.selection import Gate, SelectK
from discrete_lightning.selection.gates.select_k import evened
from tests.references import estimators as reference
from tests.references import subsets
from tests.references.every_estimator import EXPORTED, HARD
from tests.references.goodness_of_fit import chi_square_p

Layer = TypeVar("Layer", Gate, SelectK)
LOGITS = torch.tensor([0.4, -1.2, 0.0, 1.5, -0.5])
ROWS = 20_000
CODES = 2.0 ** torch.arange(5, dtype=torch.float64)
HARD_EXPORTED = [each for each in EXPORTED if each in HARD]
SCORE = [each for each in EXPORTED if not each.pathwise and each.softmax]  # gates refuse the others


def with_logits(gate: Layer) -> Layer:
    with torch.no_grad():
        gate.logits.copy_(LOGITS)
    return gate


def assert_bernoulli(z: Tensor) -> None:
    every = reference.bits(5)
    counts = torch.stack([(z.double() @ CODES == code).sum() for code in every @ CODES])
    assert counts.sum() == len(z)
    assert chi_square_p(counts, reference.probability_of(every, LOGITS, binary=True)) > 1e-4


def assert_subsets(z: Tensor, k: int, estimator: Estimator) -> None:
    counts = subsets.counts(z, k)
    assert counts.sum() == len(z)
    p = subsets.LOG_PROBABILITY[estimator.subsets](LOGITS, subsets.subsets(5, k)).exp()
    assert chi_square_p(counts, p) > 1e-4


@pytest.mark.parametrize("estimator", HARD_EXPORTED, ids=repr)
def test_gates_are_independent_bits(estimator: Estimator) -> None:
    torch.manual_seed(0)
    assert_bernoulli(with_logits(Gate(5, estimator))(torch.ones(ROWS, 5)).detach())


@pytest.mark.parametrize("estimator", SCORE, ids=repr)
def test_draws_for_estimators_that_need_the_loss(estimator: Estimator) -> None:
    torch.manual_seed(0)
    assert_bernoulli(with_logits(Gate(5, estimator)).draw(torch.ones(ROWS, 5)))
    seen: list[Tensor] = []

    def function(gated: Tensor) -> Tensor:
        seen.append(gated.detach())
        return gated.sum(-1)

    with_logits(Gate(5, estimator)).expectation(function, torch.ones(ROWS, 5))
    for each in seen[0].view(-1, ROWS, 5):
        assert_bernoulli(each)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("estimator", [each for each in HARD_EXPORTED if each.categorical], ids=repr)
def test_subsets(estimator: Estimator, k: int) -> None:
    torch.manual_seed(0)
    assert_subsets(with_logits(SelectK(k, 5, estimator))(torch.ones(ROWS, 5)).detach(), k, estimator)


@pytest.mark.parametrize("k", [1, 3])
def test_subsets_drawn_for_leave_one_out(k: int) -> None:
    torch.manual_seed(0)
    layer = with_logits(SelectK(k, 5, LeaveOneOut()))
    assert_subsets(layer.draw(torch.ones(ROWS, 5)), k, LeaveOneOut())


def test_the_test_of_subsets_can_fail() -> None:
    torch.manual_seed(0)
    z = with_logits(SelectK(2, 5, SIMPLE()))(torch.ones(ROWS, 5)).detach()
    with pytest.raises(AssertionError):
        assert_subsets(z, 2, LeaveOneOut())


@pytest.mark.parametrize("estimator", [each for each in EXPORTED if each.categorical and each.softmax], ids=repr)
def test_exactly_k_in_each_row(estimator: Estimator) -> None:
    torch.manual_seed(0)
    for k in (1, 3, 5):
        layer = with_logits(SelectK(k, 5, estimator))
        z = layer.draw(torch.ones(300, 5))
        torch.testing.assert_close(z.sum(-1), torch.full((300,), float(k)))
        if estimator in HARD or not estimator.pathwise:
            assert set(z.unique().tolist()) <= {0.0, 1.0}
        assert int(layer.eval()(torch.ones(2, 5))[0].sum()) == k
        assert torch.equal(layer.open(), torch.zeros(5, dtype=torch.bool).index_fill(0, LOGITS.topk(k).indices, True))


def test_equal_logits_leave_exactly_k_open() -> None:
    layer = SelectK(3, 6)
    with torch.no_grad():
        layer.logits.zero_()
    for k in range(1, 7):
        layer.set_k(k)
        assert int(layer.open().sum()) == k
        assert layer.open()[:k].all()  # the first ones


def test_k_may_change_between_calls() -> None:
    layer = SelectK(5, 5)
    for k in (5, 3, 1, 2):
        layer.set_k(k)
        assert (layer(torch.ones(20, 5)).sum(-1) == k).all()
        assert (layer.expectation(lambda z: z.sum(-1), torch.ones(20, 5)) == k).all()


@pytest.mark.parametrize("k", [1, 2, 4, 5])
def test_open_probabilities_of_a_subset(k: int) -> None:
    """sigmoid(a + c) with the sum k, which no gradient changes; of another cost the gradient is that of finite differences."""
    found = with_logits(SelectK(k, 5)).open_probability()
    assert float(found.detach().sum()) == pytest.approx(k, abs=1e-4)
    if k < 5:
        layer, prices = with_logits(SelectK(k, 5)), torch.tensor([3.0, -1.0, 2.0, 0.5, 4.0])
        (flat,) = torch.autograd.grad(layer.open_probability().sum(), layer.logits)
        torch.testing.assert_close(flat, torch.zeros(5), rtol=0, atol=1e-6)
        (slope,) = torch.autograd.grad((layer.open_probability() * prices).sum(), layer.logits)
        for i, step in enumerate(1e-4 * torch.eye(5, dtype=torch.float64)):
            above, below = (evened(LOGITS.double() + sign * step, k, 80) @ prices.double() for sign in (1, -1))
            assert slope[i].item() == pytest.approx(float(above - below) / 2e-4, abs=1e-4)
        shift = torch.logit(found.detach().double()) - LOGITS
        torch.testing.assert_close(shift, shift.mean().expand(5), rtol=1e-4, atol=1e-4)
        assert (found - subset_marginals(LOGITS, k)).abs().max() < 0.12
    assert torch.equal(evened(LOGITS, 5), torch.ones(5))


def test_open_probabilities_of_gates() -> None:
    gate = with_logits(Gate(5))
    torch.testing.assert_close(gate.open_probability(), torch.sigmoid(LOGITS))
    assert Gate(400, DisARM(), start=0.7).open_probability().mean().item() == pytest.approx(0.7, abs=0.003)


def test_bounds_keep_gates_where_they_can_open_again() -> None:
    gate = Gate(2)
    with torch.no_grad():
        gate.logits.copy_(torch.tensor([-50.0, 50.0]))
    gate.bound_()
    torch.testing.assert_close(gate.open_probability(), torch.tensor([0.018, 0.982]), rtol=0, atol=1e-3)
