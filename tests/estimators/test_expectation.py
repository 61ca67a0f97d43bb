"""One loss, written as a function of the sample, works with every estimator."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import DisARM, Estimator, IndeCateR, LeaveOneOut, StratifiedReinMax
from tests.references import estimators as reference
from tests.references.every_estimator import HARD, SOFT, each_case, each_kind, each_pathwise, forward_tau
from tests.references.gumbel import probabilities
from tests.references.inputs import leaf, seeded


class Model(nn.Module):
    """A decoder of samples (..., B, L, K), and what it was shown."""

    def __init__(self, dtype: torch.dtype = torch.float32, hard: bool = False) -> None:
        super().__init__()
        self.hard = hard
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.decode = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 5)).to(dtype)
        self.target = torch.randn(6, 5, generator=seeded(1)).to(dtype)
        self.seen: list[Tensor] = []
        self.losses: list[Tensor] = []

    def loss(self, sample: Tensor) -> Tensor:
        losses = (self.decode(sample.flatten(-2)) - self.target).square().sum(-1)
        relaxed = not ((sample == 0) | (sample == 1)).all()
        if losses.requires_grad and not (self.hard and relaxed):  # what gives the decoder its gradient
            self.seen.append(sample.detach())
            self.losses.append(losses)
        return losses

    def gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.decode.parameters()]


def run(estimator: Estimator, binary: bool, dtype: torch.dtype = torch.float32) -> tuple[Model, Tensor, Tensor]:
    model, logits = Model(dtype, not estimator.pathwise), leaf(torch.randn(6, 3, 4, generator=seeded(2)), dtype)
    losses = estimator.expectation(model.loss, logits, 0.6, seeded(3), binary=binary)
    losses.mean().backward()
    return model, losses.detach(), logits


def leading(estimator: Any) -> int:
    return 2 if isinstance(estimator, DisARM) else 1 if estimator.pathwise else getattr(estimator, "samples", 1)


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_model(estimator: Estimator, binary: bool, dtype: torch.dtype) -> None:
    """The loss is the mean of the losses, and the decoder gets the gradient of that mean."""
    model, losses, logits = run(estimator, binary, dtype)
    assert losses.shape == (6,)
    samples = torch.cat([sample.reshape(-1, 6, 3, 4) for sample in model.seen])
    assert len(samples) == leading(estimator)
    assert samples.dtype == dtype
    if estimator not in SOFT:
        assert samples.unique().tolist() == [0, 1]
        assert binary or (samples.sum(-1) == 1).all()
    assert logits.grad.shape == logits.shape
    assert logits.grad.dtype == dtype
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0
    alone = Model(dtype)
    by_hand = torch.stack([alone.loss(sample) for sample in samples])
    by_hand.mean().backward()
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-6, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(losses.double(), by_hand.detach().double().mean(0), rtol=tolerance, atol=tolerance)
    for got, wanted in zip(model.gradients(), alone.gradients(), strict=True):
        assert wanted.any()
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@each_case
def test_a_model_in_evaluation_without_gradients(estimator: Estimator, binary: bool) -> None:
    model, losses, logits = run(estimator, binary)
    with torch.no_grad():
        again = estimator.expectation(model.loss, logits, 0.6, seeded(3), binary=binary)
    assert not again.requires_grad
    torch.testing.assert_close(again, losses)


@each_case
def test_the_rows_of_a_batch_do_not_mix(estimator: Estimator, binary: bool) -> None:
    """A loss of row 0 only gives no gradient to the others."""
    weight = torch.tensor([1.0, 0, 0, 0, 0, 0])
    logits = leaf(torch.randn(6, 3, 4, generator=seeded(4)))
    cost = torch.randn(3, 4, generator=seeded(5))
    total = torch.zeros(6, 3, 4)
    for seed in range(5):
        logits.grad = None
        losses = estimator.expectation(
            lambda sample: weight * ((sample * cost).sum((-2, -1)) + 1) ** 2, logits, 0.6, seeded(seed), binary=binary
        )
        losses.sum().backward()
        total += logits.grad.abs()
    assert total[0].any()
    assert not total[1:].any()


@each_case
def test_shapes_of_events(estimator: Estimator, binary: bool) -> None:
    """Documented: logits (B, *event)."""
    for event in ([()] if binary else []) + [(4,), (3, 4), (2, 3, 4), (1,)]:
        for batch in (6, 1, 0):
            logits = leaf(torch.randn(batch, *event, generator=seeded(6)))

            def loss(sample: Tensor, dims: int = len(event)) -> Tensor:
                return (sample.flatten(-dims).sum(-1) if dims else sample) ** 2

            losses = estimator.expectation(loss, logits, 0.6, seeded(7), binary=binary)
            assert losses.shape == (batch,)
            losses.sum().backward()
            assert logits.grad.shape == logits.shape
            assert logits.grad.isfinite().all()


def test_leave_one_out_sample_by_sample() -> None:
    """Against sums over Python floats, from the samples that the function saw."""
    for binary in (False, True):
        model, _, logits = run(LeaveOneOut(samples=4), binary, torch.float64)
        (samples,), (losses,) = model.seen, model.losses
        x = logits.detach()
        scores = samples - (torch.sigmoid(x) if binary else x.softmax(-1))
        exact = [
            reference.leave_one_out(losses[:, row].tolist(), scores[:, row].flatten(1).tolist()) for row in range(6)
        ]
        torch.testing.assert_close(6 * logits.grad.flatten(1), torch.tensor(exact, dtype=torch.float64))


def test_disarm_pair_by_pair() -> None:
    model, _, logits = run(DisARM(), True, torch.float64)
    (pair,), (losses,) = model.seen, model.losses
    first, second = pair.long().flatten(2)
    exact = [
        reference.disarm(
            *losses[:, row].tolist(), first[row].tolist(), second[row].tolist(), logits[row].flatten().tolist()
        )
        for row in range(6)
    ]
    torch.testing.assert_close(6 * logits.grad.flatten(1), torch.tensor(exact, dtype=torch.float64))


@pytest.mark.parametrize("estimator", [LeaveOneOut(), DisARM(), IndeCateR(), StratifiedReinMax()], ids=repr)
def test_the_value_and_the_gradient_to_a_weight_are_means(estimator: Estimator) -> None:
    """E[w b^3] = w sigmoid(logit), and its derivative to w: 5 sigma."""
    draws, weight = 200_000, leaf(2.0, torch.float64)
    p = 1 / (1 + math.exp(-0.7))
    logits = torch.full((draws, 1), 0.7)
    losses = estimator.expectation(lambda b: weight * b[..., 0] ** 3, logits, 1.0, seeded(8), binary=True)
    reference.assert_mean(losses.detach(), 2 * p)
    (slope,) = torch.autograd.grad(losses.mean(), weight)
    assert float(slope) == pytest.approx(float(losses.detach().mean()) / 2)


@pytest.mark.parametrize("estimator", [LeaveOneOut(), DisARM(), IndeCateR(), StratifiedReinMax()], ids=repr)
def test_losses_in_another_dtype(estimator: Estimator) -> None:
    """A float32 loss of half-precision samples, and the other way round."""
    for of_logits, of_loss in ((torch.float16, torch.float32), (torch.float32, torch.float16)):
        logits = leaf(torch.randn(50, 3, generator=seeded(9)), of_logits)

        def loss(sample: Tensor, dtype: torch.dtype = of_loss) -> Tensor:
            return (sample.to(dtype) * 3).sum(-1) ** 2

        estimator.expectation(loss, logits, 1.0, seeded(10), binary=True).sum().backward()
        assert logits.grad.dtype == of_logits
        assert logits.grad.any()


@each_case
def test_the_function_is_called_once(estimator: Estimator, binary: bool) -> None:
    calls: list[int] = []

    def counted(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def inner(sample: Tensor) -> Tensor:
            calls.append(1)
            return function(sample)

        return inner

    estimator.expectation(counted(lambda sample: sample.sum(-1)), torch.zeros(4, 3), 0.5, binary=binary)
    assert len(calls) == 1


@each_pathwise
@each_kind
def test_expectation_is_the_function_of_a_sample(estimator: Estimator, binary: bool) -> None:
    gradients, weight = [], torch.randn(3, 4, generator=seeded(11))
    for by_hand in (False, True):
        logits, tau = leaf(torch.randn(6, 3, 4, generator=seeded(12))), leaf(0.6)

        def loss(sample: Tensor) -> Tensor:
            return (sample * weight).sum((-2, -1)).square()

        if by_hand:
            losses = loss((estimator.bernoulli if binary else estimator)(logits, tau, seeded(13)))
        else:
            losses = estimator.expectation(loss, logits, tau, seeded(13), binary=binary)
        assert losses.shape == (6,)
        losses.mean().backward()
        gradients.append((losses.detach(), logits.grad, torch.ones(()) if tau.grad is None else tau.grad))
    assert all(torch.equal(one, other) and one.any() for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("estimator", [each for each in HARD if forward_tau(each, 0.3) == 1.0], ids=repr)
def test_expectation_is_the_expectation(estimator: Estimator) -> None:
    logits, cost = torch.tensor([0.5, -2.0, 0.0]), torch.tensor([1.0, 4.0, -2.0])
    losses = estimator.expectation(lambda sample: (sample @ cost).square(), logits.expand(200_000, 3), 0.3, seeded(14))
    exact = float((probabilities(logits) * cost.square()).sum())
    assert abs(losses.mean() - exact) < 5 * losses.std() / math.sqrt(len(losses))
