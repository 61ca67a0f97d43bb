"""Keyed noise of every estimator: eagerly, where a forward pass is made again, compiled, and on parts of a batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import gumbel_noise, keyed_noise

B, M, K = 6, 3, 5
ESTIMATORS = [
    each()
    for each in (getattr(estimators, name) for name in estimators.__all__)
    if isinstance(each, type) and issubclass(each, Estimator) and each is not Estimator
]
Draw = Callable[[Tensor], Tensor]


def _weigh(sample: Tensor) -> Tensor:
    """Losses (..., B) of samples (..., B, M, K)."""
    return (sample * torch.linspace(0.5, 1.5, M * K).view(M, K)).flatten(-2).sum(-1).square()


def _draws(estimator: Estimator) -> dict[str, Draw]:
    kinds: dict[str, Draw] = {}
    if estimator.pathwise:
        if estimator.categorical:
            kinds["category"] = lambda logits: _weigh(estimator(logits, 0.7))
            kinds["subset"] = lambda logits: _weigh(estimator.subset(logits, 2, 0.7))
        kinds["binary"] = lambda logits: _weigh(estimator.bernoulli(logits, 0.7))
    kinds["expected binary"] = lambda logits: estimator.expectation(_weigh, logits, 0.7, binary=True)
    if estimator.categorical:
        kinds["expected category"] = lambda logits: estimator.expectation(_weigh, logits, 0.7)
    if estimator.categorical and estimator.chooses_subsets:
        kinds["expected subset"] = lambda logits: estimator.expectation(_weigh, logits, 0.7, k=2)
    return kinds


CASES = [(estimator, kind) for estimator in ESTIMATORS for kind in _draws(estimator)]
NAMES = [f"{type(estimator).__name__}-{kind}" for estimator, kind in CASES]


def _twice(draw: Draw) -> Draw:
    """The second call must not repeat the noise of the first."""
    return lambda logits: draw(logits) - 0.5 * draw(logits + 0.1)


def _run(function: Any, logits: Tensor, examples: Tensor | int, step: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (B,), the gradient, and noise that is drawn next."""
    leaf = logits.clone().requires_grad_()
    with keyed_noise(1, step, examples):
        losses = function(leaf)
        after = gumbel_noise((len(logits), 2))
    losses.sum().backward()
    assert leaf.grad is not None
    return losses.detach(), leaf.grad, after


def _close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for one, other in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[2], expected[2])


@pytest.mark.parametrize(("estimator", "kind"), CASES, ids=NAMES)
def test_draws_are_equal(estimator: Estimator, kind: str) -> None:
    """Eager = checkpointed = in parts, whatever the default generator's state."""
    logits = torch.randn(B, M, K, generator=torch.Generator().manual_seed(0))
    twice = _twice(_draws(estimator)[kind])
    torch.manual_seed(1)
    eager = _run(twice, logits, B)
    torch.manual_seed(2)
    _close(_run(twice, logits, B), eager)
    _close(_run(lambda x: checkpoint(twice, x, use_reentrant=False), logits, B), eager)
    _close(_run(lambda x: checkpoint(twice, x, use_reentrant=True), logits, B), eager)
    for rank in range(2):
        own = torch.arange(rank, B, 2)
        _close(_run(twice, logits[own], own), (eager[0][own], eager[1][own], eager[2][own]))
    assert not torch.equal(_run(twice, logits, B, step=4)[2], eager[2])


QUICK = {"StraightThroughGumbel-category", "Paired-subset", "GumbelRao-category"}
COMPILED = [
    pytest.param(*case, id=name, marks=[] if name in QUICK else pytest.mark.slow)
    for case, name in zip(CASES, NAMES, strict=True)
]


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own
@pytest.mark.parametrize(("estimator", "kind"), COMPILED)
def test_draws_are_equal_compiled(estimator: Estimator, kind: str) -> None:
    logits = torch.randn(B, M, K, generator=torch.Generator().manual_seed(0))
    twice = _twice(_draws(estimator)[kind])
    torch._dynamo.reset()
    _close(_run(torch.compile(twice, backend="aot_eager", fullgraph=True), logits, B), _run(twice, logits, B))
