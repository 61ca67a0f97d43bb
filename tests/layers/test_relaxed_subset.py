import math
import pickle

import pytest
import torch
from torch import nn

from discrete_lightning.estimators import DisARM, Estimator, GumbelSoftmax, LeaveOneOut, StraightThroughGumbel
from discrete_lightning.functional import relaxed_top_k
from discrete_lightning.nn import Relaxed, RelaxedCategorical, RelaxedSubset, Temperature, relaxed, use_estimator
from tests.references import subsets
from tests.references.every_estimator import CATEGORICAL, each_pathwise
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded


@each_pathwise
@pytest.mark.parametrize("learnable", [False, True])
def test_training_is_the_subset_of_the_estimator(estimator: Estimator, learnable: bool) -> None:
    layer = RelaxedSubset(2, estimator, Temperature(0.7, learnable=learnable))
    results = []
    for draw in (layer, lambda x, generator: estimator.subset(x, 2, layer.temperature(), generator)):
        logits = leaf(torch.randn(10, 6, generator=seeded(0)))
        sample = draw(logits, seeded(1))
        sample.square().cumsum(-1).sum().backward()
        results.append((sample.detach(), logits.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize(("estimator", "hard"), [(None, True), (GumbelSoftmax(), False)])
def test_hard_and_soft_are_two_estimators(estimator: Estimator | None, hard: bool) -> None:
    logits = torch.randn(10, 6, generator=seeded(2))
    expected = relaxed_top_k(logits, 3, 0.5, hard=hard, generator=seeded(3))
    torch.testing.assert_close(RelaxedSubset(3, estimator, 0.5)(logits, seeded(3)), expected)


def test_evaluation_is_the_k_largest() -> None:
    layer, logits = RelaxedSubset(2).eval(), torch.randn(10, 6, requires_grad=True, generator=seeded(4))
    state = torch.get_rng_state()
    chosen = layer(logits)
    assert torch.equal(chosen, layer(logits))
    assert torch.equal(torch.get_rng_state(), state)
    assert not chosen.requires_grad
    assert torch.equal(chosen.bool().nonzero()[:, 1].view(10, 2), logits.topk(2).indices.sort().values)
    assert torch.equal(layer(torch.tensor([-math.inf, -5.0, 2.0])), torch.tensor([0.0, 1, 1]))


@pytest.mark.parametrize("tau", [0.05, 20.0])
def test_evaluation_draws_are_exact(tau: float) -> None:
    logits = torch.tensor([0.5, -1.0, 0.0, 1.5])
    torch.manual_seed(5)
    draws = RelaxedSubset(2, temperature=tau, evaluation="draw").eval()(logits.expand(20_000, 4))
    expected = subsets.subset_log_probability(logits, subsets.subsets(4, 2)).exp()
    assert chi_square_p(subsets.counts(draws, 2), expected) > 1e-4


def test_it_is_found_as_a_layer_that_samples() -> None:
    model = nn.Sequential(RelaxedSubset(2), RelaxedCategorical()).eval()
    assert isinstance(model[0], Relaxed)
    use_estimator(model, GumbelSoftmax())
    assert model[0].estimator == GumbelSoftmax()
    logits = torch.randn(20, 5, generator=seeded(6))
    with relaxed(model):
        assert model[0].training
        soft = model[0](logits)
    assert soft.unique().numel() > 2
    assert model[0](logits).unique().tolist() == [0, 1]


@pytest.mark.parametrize("estimator", [each for each in CATEGORICAL if each.chooses_subsets], ids=repr)
def test_expectation(estimator: Estimator) -> None:
    torch.manual_seed(9)
    layer, logits = RelaxedSubset(2, estimator, 0.7), leaf(torch.randn(6, 5, generator=seeded(7)))
    losses = layer.expectation(lambda sample: (sample * torch.arange(5.0)).sum(-1).square(), logits)
    assert losses.shape == (6,)
    losses.sum().backward()
    assert logits.grad.abs().sum() > 0
    best = layer.eval()(logits)
    assert torch.equal(layer.expectation(lambda sample: sample @ torch.arange(5.0), logits), best @ torch.arange(5.0))


def test_estimators_that_cannot_serve_are_refused_when_the_layer_is_built() -> None:
    with pytest.raises(ValueError, match=r"DisARM\(\) is for binary variables, and RelaxedSubset chooses among"):
        RelaxedSubset(2, DisARM())
    with pytest.raises(ValueError, match=r"LeaveOneOut.*needs the loss's value"):
        RelaxedSubset(2, LeaveOneOut(), samples_only=True)
    layer = RelaxedSubset(2)
    with pytest.raises(ValueError, match="for binary variables"):
        use_estimator(layer, DisARM())
    assert layer.estimator == StraightThroughGumbel()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("evaluation", ["mode", "draw"])
def test_bad_input(training: bool, evaluation: str) -> None:
    layer = RelaxedSubset(2, evaluation=evaluation).train(training)  # type: ignore[arg-type]
    for row in ([math.nan, 0.0, 1.0], [math.inf, 0.0, 1.0], [-math.inf, 0.0, -math.inf]):
        with pytest.raises(ValueError, match="1 of 2 rows of logits have no distribution over subsets of k=2"):
            layer(torch.tensor([[0.0, 1.0, 2.0], row]))
    with pytest.raises(ValueError, match="k=2 of 1"):
        layer(torch.zeros(3, 1))


def test_bad_k_and_evaluation() -> None:
    with pytest.raises(ValueError, match="RelaxedSubset: k must be at least 1, got 0"):
        RelaxedSubset(0)
    with pytest.raises(ValueError, match="'mode' or 'draw', got 'argmax'"):
        RelaxedSubset(2, evaluation="argmax")  # type: ignore[arg-type]


def test_pickle_and_repr() -> None:
    layer = RelaxedSubset(3, GumbelSoftmax(), 0.5, "draw")
    assert str(pickle.loads(pickle.dumps(layer))) == str(layer)
    assert "k=3, estimator=GumbelSoftmax(), evaluation='draw'" in str(layer)
