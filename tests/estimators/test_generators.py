"""Noise comes from the generator that is given, or from the default one."""

import pytest
import torch

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator
from tests.references.every_estimator import CASES, each_kind, each_pathwise
from tests.references.inputs import leaf, seeded

# the gradient to one variable of the others here has no noise
NOISY = [case for case in CASES if case[0] not in (estimators.Softmax(), estimators.Entmax(), estimators.Sparsemax())]


@pytest.mark.parametrize(("estimator", "binary"), NOISY, ids=str)
def test_one_state_of_the_generator_gives_one_sample_and_gradient(estimator: Estimator, binary: bool) -> None:
    cost, state, results = torch.randn(50, 4, generator=seeded(28)), torch.get_rng_state(), []
    for seed in (29, 29, 30):
        logits = leaf(torch.randn(50, 4, generator=seeded(31)))
        loss = estimator.expectation(
            lambda sample: (sample * cost).sum(-1) ** 2, logits, 0.6, seeded(seed), binary=binary
        )
        loss.sum().backward()
        results.append((loss.detach(), logits.grad))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])
    assert not torch.equal(results[0][1], results[2][1])


@pytest.mark.parametrize(("estimator", "binary"), NOISY, ids=str)
def test_the_default_generator_serves_without_one(estimator: Estimator, binary: bool) -> None:
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        logits = leaf(torch.linspace(-1.0, 1.0, 150).view(50, 3))
        losses = estimator.expectation(lambda sample: (sample @ torch.arange(3.0)) ** 2, logits, 0.6, binary=binary)
        losses.sum().backward()
        results.append((torch.get_rng_state(), logits.grad))
    assert all(torch.equal(one, other) for one, other in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][1], results[2][1])


@each_kind
def test_softmax_draws_nothing(binary: bool) -> None:
    softmax, logits, state = estimators.Softmax(), torch.randn(20, 3, generator=seeded(1)), torch.get_rng_state()
    first, second = ((softmax.bernoulli if binary else softmax)(logits, 0.5, seeded(seed)) for seed in (2, 3))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@each_pathwise
@each_kind
def test_without_gradients(estimator: Estimator, binary: bool) -> None:
    logits = leaf(torch.randn(20, 3, generator=seeded(43)))
    draw = estimator.bernoulli if binary else estimator
    with torch.no_grad():
        sample = draw(logits, 0.5, seeded(44))
    with torch.inference_mode():
        again = draw(logits, 0.5, seeded(44))
    assert not sample.requires_grad
    assert not draw(logits.detach(), 0.5).requires_grad
    assert torch.equal(sample, again)
    assert torch.equal(sample, draw(logits, 0.5, seeded(44)))
