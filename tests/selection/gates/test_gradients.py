"""The gradient of E[loss] of Gate and SelectK, of each estimator, against enumeration; 5 sigma, seeds fixed in advance."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import (
    IMLE,
    REBAR,
    RELAX,
    SIMPLE,
    ContractedReinMax,
    DisARM,
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    GumbelSoftmax,
    IndeCateR,
    LeaveOneOut,
    Paired,
    ReDGE,
    ReinMax,
    ReinMaxCV,
    ReinMaxRao,
    StraightThrough,
    StraightThroughGumbel,
    StratifiedReinMax,
)
from discrete_lightning.selection import Gate, SelectK
from discrete_lightning.selection.gates.gate_layer import Per
from tests.references import estimators as reference
from tests.references import subsets
from tests.references.every_estimator import EXPORTED
from tests.references.gumbel import relaxed_bernoulli_gradient_moments
from tests.references.inputs import seeded

LOGITS = torch.tensor([0.4, -1.2, 0.0, 1.5, -0.5])
X = torch.randn(16, 5, generator=seeded(0)) + 0.5
# the highest degree of polynomials whose gradient is exact in the mean; of others see `slope_of`
DEGREE = {
    **dict.fromkeys((LeaveOneOut, DisARM, IndeCateR, REBAR, RELAX), 3),
    **dict.fromkeys((ReinMax, ContractedReinMax, StratifiedReinMax, Paired), 2),
}
BIASED = (GumbelSoftmax, StraightThroughGumbel, GumbelRao, GappedStraightThrough, ReinMaxRao, ReinMaxCV)
BATCHES = {"row": 60, "batch": 150}


def gradients(gate: Gate | SelectK, degree: int, seed: int) -> Tensor:
    """Of the mean loss of a batch, for each of several batches (N, D)."""
    with torch.no_grad():
        gate.logits.copy_(LOGITS)
    function, found = subsets.polynomial(degree, 5), []
    torch.manual_seed(seed)
    certain = isinstance(gate, SelectK) and isinstance(gate.sampler.estimator, SIMPLE)  # exact for each draw
    for _ in range(20 if certain else BATCHES[gate.per]):
        losses = function(gate(X)) if gate.sampler.estimator.pathwise else gate.expectation(function, X)
        assert losses.shape == (len(X),)
        found.append(torch.autograd.grad(losses.mean(), gate.logits)[0])
    return torch.stack(found)


def mean_loss(degree: int) -> reference.Function:
    """Samples (N, D) to the mean over the rows of X of the loss of the gated row."""
    function = subsets.polynomial(degree, 5)
    return lambda samples: function(samples.unsqueeze(1) * X.double()).mean(1)


@cache
def slope_of(estimator: Estimator, log_odds: float) -> float:
    """E[dz / dlog-odds] at tau = 1, of the biased estimators."""
    if isinstance(estimator, ReinMaxRao | ReinMaxCV):
        return slope_at_midpoints(estimator, 1 / (1 + math.exp(-log_odds)))
    if not isinstance(estimator, GappedStraightThrough):
        return relaxed_bernoulli_gradient_moments(log_odds, 1.0)[0]
    pair, g = torch.tensor([[min(log_odds, 0.0), -max(log_odds, 0.0)]]), torch.tensor([[1.0, 0.0]])
    p = torch.sigmoid(torch.tensor(log_odds))
    of_each = [reference.gapped(pair, b, 1.0, estimator.gap, g) for b in torch.eye(2).unsqueeze(1)]
    mean = p * of_each[0] + (1 - p) * of_each[1]
    return float(mean[0, 0] if log_odds <= 0 else -mean[0, 1])


def slope_at_midpoints(estimator: ReinMaxRao | ReinMaxCV, p: float) -> float:
    """Of relaxed choices of two at m = (p + D) / 2, given the winner: by quadrature over E / E_1, E of the other category."""
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000

    def given_winner(m_other: float) -> float:
        ratio = 1 + u / (1 - u) / m_other  # of the times of the other and of the winner
        return float((ratio / (1 + ratio) ** 2).mean())

    slope, variance = 0.0, p * (1 - p)
    for chance, other in ((p, (1 - p) / 2), (1 - p, p / 2)):  # of each draw
        average = given_winner(other)
        if isinstance(estimator, ReinMaxRao):
            slope += chance * (2 * average - variance / 2)
        else:
            relaxed = (1 - other) * average + other * given_winner(1 - other)
            slope += chance * (variance + estimator.eta * (average - relaxed))
    return slope


# gates refuse a sparse distribution; the mean of the others has no closed form: see tests/functional
GATES = [each for each in EXPORTED if each.softmax and not isinstance(each, IMLE | ReDGE)]


@pytest.mark.parametrize("per", ["row", "batch"])
@pytest.mark.parametrize("estimator", GATES, ids=repr)
def test_gates(estimator: Estimator, per: Per) -> None:
    degree = DEGREE.get(type(estimator), 1)
    found = gradients(Gate(5, estimator, per=per), degree, seed=1)
    if isinstance(estimator, BIASED):
        slopes = torch.tensor([slope_of(estimator, a) for a in LOGITS.tolist()])
        wanted = reference.cotangents(mean_loss(1), torch.zeros(1, 5))[0] * slopes
    else:
        wanted = reference.exact_gradient(mean_loss(degree), LOGITS, binary=True)
    assert wanted.abs().min() > 1e-3
    reference.assert_mean(found, wanted)


def test_the_test_of_gates_can_fail() -> None:
    found = gradients(Gate(5), 2, seed=1)
    with pytest.raises(AssertionError, match="sigma"):
        reference.assert_mean(found, reference.exact_gradient(mean_loss(2), LOGITS, binary=True))


def exact(estimator: Estimator, degree: int, k: int) -> Tensor:
    """d/dlogits of sum over S of p(S) f(S), by all C(D, k) subsets."""
    x = LOGITS.double().requires_grad_()
    every = subsets.subsets(5, k)
    p = subsets.LOG_PROBABILITY[estimator.subsets](x, every).exp()
    assert float(p.detach().sum()) == pytest.approx(1)
    return torch.autograd.grad((p * mean_loss(degree)(every)).sum(), x)[0]


CHOOSING = [each for each in EXPORTED if each.categorical and each.softmax]
EXACT_SUBSETS = {StraightThrough: 1, SIMPLE: 1, ReinMax: 2, ContractedReinMax: 2, LeaveOneOut: 3, IndeCateR: 3}


@pytest.mark.parametrize("per", ["row", "batch"])
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("estimator", [each for each in CHOOSING if type(each) in EXACT_SUBSETS], ids=repr)
def test_subsets(estimator: Estimator, k: int, per: Per) -> None:
    degree = EXACT_SUBSETS[type(estimator)]
    reference.assert_mean(gradients(SelectK(k, 5, estimator, per=per), degree, seed=2), exact(estimator, degree, k))


@pytest.mark.parametrize("estimator", [each for each in CHOOSING if type(each) not in EXACT_SUBSETS], ids=repr)
def test_biased_gradients_of_subsets_point_the_same_way(estimator: Estimator) -> None:
    mean, wanted = gradients(SelectK(2, 5, estimator), 1, seed=3).mean(0), exact(estimator, 1, 2)
    assert torch.cosine_similarity(mean.double(), wanted, dim=0) > 0.8


@pytest.mark.parametrize("layer", [Gate, SelectK])
@pytest.mark.parametrize("estimator", [each for each in EXPORTED if each.pathwise], ids=repr)
def test_values_and_gradients_are_those_of_the_estimator(estimator: Estimator, layer: type) -> None:
    """With the same noise, also at another temperature, also for what is biased."""
    gate: Any = Gate(5, estimator, temperature=0.7) if layer is Gate else SelectK(3, 5, estimator, temperature=0.7)
    v, found = torch.randn(16, 5, generator=seeded(1)), []
    for by_hand in (False, True):
        torch.manual_seed(4)
        if by_hand:
            logits = gate.logits.expand(16, 5)
            tau = gate.sampler.temperature()
            z = estimator.bernoulli(logits, tau) if layer is Gate else estimator.subset(logits, 3, tau)
            y = X * z
        else:
            y = gate(X)
        found.append((y.detach(), torch.autograd.grad((y * v).sum(), gate.logits)[0]))
    assert found[0][1].abs().sum() > 0
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("estimator", [LeaveOneOut(), DisARM()], ids=repr)
def test_what_needs_the_loss_says_so(estimator: Estimator) -> None:
    with pytest.raises(TypeError, match=r"needs the loss's value.*\.expectation\(function"):
        Gate(3, estimator)(torch.ones(2, 3))


@pytest.mark.parametrize("per", ["row", "batch"])
@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 4), (6, 4, 2, 2)], ids=str)
def test_expectation_of_other_shapes(shape: tuple[int, ...], per: Per) -> None:
    """Losses of rows, with the gradient of the input, too: that of the mean over the samples."""
    gate = Gate(4, LeaveOneOut(samples=3), dim=1 if len(shape) == 4 else -1, per=per)
    x, seen = torch.randn(shape, generator=seeded(2)).requires_grad_(), []

    def function(gated: Tensor) -> Tensor:
        assert gated.shape == (3, *shape)
        seen.append(gated)
        return gated.flatten(2).square().sum(-1)

    losses = gate.expectation(function, x)
    assert losses.shape == (6,)
    (slope,) = torch.autograd.grad(losses.mean(), x)
    wanted = seen[0].detach().flatten(2).square().sum(-1).mean(0)
    torch.testing.assert_close(losses.mean(), wanted.mean())
    torch.testing.assert_close(slope, 2 * seen[0].detach().mean(0) / 6)
    if per == "row":
        torch.testing.assert_close(losses.detach(), wanted)
