"""Every function, estimator and loss at the edges of what float32 holds: temperatures, masks, huge logits."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import Softmax
from discrete_lightning.functional import gumbel_softmax, relaxed_top_k, softmax, softmax_draw
from discrete_lightning.losses import EntropyBonus
from tests.references.every_call import CALLS, ESTIMATORS, FUNCTIONS
from tests.references.inputs import leaf, seeded

INF = math.inf
WITH_TAU = [name for name, call in CALLS.items() if call.takes_tau]
SAMPLES = [name for name in WITH_TAU if name in FUNCTIONS or name in ESTIMATORS]
EDGES = [1e-38, 1e-20, 1e-8, 4e-5, 1e38]
MASKED = 2

# the method makes drawn categories tie, where the gradient of k steps grows as tau^-k
TIES = ("gapped_subset", "GappedStraightThrough(gap=1.0) subset")


def ordinary() -> Tensor:
    return 3 * torch.randn(20, 6, generator=seeded(0))


def masked() -> Tensor:
    logits = ordinary()
    logits[:, MASKED] = -INF
    return logits


def huge() -> Tensor:
    return torch.tensor([[1e4, -1e4, -INF, 1e30, 0.0, 3e38], [-1e30, -1e4, -INF, -3e38, -1e30, -1.0]] * 5)


def outputs(result: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [each for each in torch.utils._pytree.tree_leaves(result) if each.is_floating_point()]


@pytest.mark.parametrize("name", WITH_TAU)
@pytest.mark.parametrize("make", [ordinary, masked, huge])
def test_values_and_gradients_are_finite(name: str, make: Callable[[], Tensor]) -> None:
    for tau, learned in itertools.product(EDGES, (False, True)):
        if tau < 1e-30 and name in TIES:
            continue
        logits, temperature = leaf(make()), leaf(tau) if learned else tau
        torch.manual_seed(0)
        for value in outputs(CALLS[name].run(logits, temperature)):
            assert value.isfinite().all(), tau
            if value.requires_grad:
                (value * torch.linspace(-1.0, 2.0, value.numel()).view(value.shape)).sum().backward()
            if make is not ordinary and name in SAMPLES and value.shape == logits.shape:
                assert not value[:, MASKED].any(), tau
        if logits.grad is not None:
            assert logits.grad.isfinite().all(), tau
            assert make is ordinary or not logits.grad[:, MASKED].any(), tau
        if isinstance(temperature, Tensor) and temperature.grad is not None:
            assert temperature.grad.isfinite(), tau


def one_hot(index: int) -> Tensor:
    return torch.eye(4)[index]


@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
@pytest.mark.parametrize("tau", [1e-38, 1e-8, 1e-3, 0.5])
@pytest.mark.parametrize(
    ("row", "best"),
    [
        ([3e38, 2e38, -3e38, -INF], 0),
        ([-3e38, -2e38, -INF, -3e38], 1),
        ([1e30, 0.0, -1e30, 2e30], 3),
        ([0.0, 1e-30, 1.0, 0.5], 2),
    ],
)
def test_a_low_temperature_gives_the_mode(row: list[float], best: int, tau: float, learned: bool) -> None:
    logits, temperature = torch.tensor([row]), leaf(tau) if learned else tau
    if row == [0.0, 1e-30, 1.0, 0.5] and tau > 1e-3:
        return
    assert torch.equal(softmax(logits, temperature)[0].detach(), one_hot(best))
    assert torch.equal(softmax_draw(logits, temperature)[0][0].detach(), one_hot(best))
    if max(map(abs, row)) > 1e20:  # noise is lost beside it
        assert torch.equal(gumbel_softmax(logits, temperature)[0].detach(), one_hot(best))
    assert torch.equal(relaxed_top_k(logits, 1, temperature, noise=False)[0].detach(), one_hot(best))


def reference(x: Tensor, tau: Tensor) -> Tensor:
    weights = torch.exp((x - x.amax(-1, keepdim=True)) / tau)
    return weights / weights.sum(-1, keepdim=True)


def entropy_of(p: Tensor) -> Tensor:
    return -(p * p.log()).sum(-1)


G = torch.tensor([3.0, -1.0, 0.5, 2.0])
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "softmax": (lambda x, t: (softmax(x, t) * G).sum(), lambda x, t: (reference(x, t) * G[:3]).sum()),
    "Softmax": (lambda x, t: (Softmax()(x, t) * G).sum(), lambda x, t: (reference(x, t) * G[:3]).sum()),
    "choice": (
        lambda x, t: EntropyBonus(choice=0.1)(x, t),
        lambda x, t: -0.1 * entropy_of(reference(x, t)).mean(),
    ),
    "marginal": (
        lambda x, t: EntropyBonus(marginal=0.1)(x, t),
        lambda x, t: -0.1 * entropy_of(reference(x, t).mean(0)),
    ),
    "bernoulli": (
        lambda x, t: (Softmax().bernoulli(x, t) * G).sum(),
        lambda x, t: (torch.sigmoid(x / t) * G[:3]).sum(),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("tau", [1e-20, 1e-8, 1e-3, 0.5, 2.0, 1e10])
def test_gradients_equal_those_of_a_float64_reference(name: str, tau: float) -> None:
    """The last category is masked; the reference does not have it."""
    x = torch.tensor([[0.0, 1.0, -2.0], [3.0, 2.5, 0.1], [-1.0, 4.0, 4.0]]) * tau
    ours, naive = LOSSES[name]
    logits, temperature = leaf(torch.nn.functional.pad(x, (0, 1), value=-INF)), leaf(tau)
    loss = ours(logits, temperature)
    loss.backward()
    exact_logits, exact_tau = leaf(x.double(), torch.float64), leaf(temperature.detach().double(), torch.float64)
    expected = naive(exact_logits, exact_tau)
    expected.backward()
    torch.testing.assert_close(loss.detach().double(), expected.detach(), rtol=1e-5, atol=1e-6)
    scaled = (logits.grad[:, :3].double() * tau, exact_logits.grad * tau)
    torch.testing.assert_close(*scaled, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(temperature.grad.double() * tau, exact_tau.grad * tau, rtol=1e-4, atol=2e-6)
    assert not logits.grad[:, 3].any()


@pytest.mark.parametrize("tau", [1e-8, 0.3, 2.0, 1e38])
def test_relaxed_top_k_beside_masks_is_that_of_the_other_categories(tau: float) -> None:
    x = torch.tensor([[0.0, 1.0, -2.0, 0.3], [3.0, 2.5, 0.1, -4.0]])
    logits, temperature = leaf(torch.nn.functional.pad(x, (1, 1), value=-INF)), leaf(tau)
    exact_logits, exact_tau = leaf(x.double(), torch.float64), leaf(temperature.detach().double(), torch.float64)
    ours = relaxed_top_k(logits, 2, temperature, noise=False)
    exact = relaxed_top_k(exact_logits, 2, exact_tau, noise=False)
    assert not ours[:, [0, -1]].any()
    torch.testing.assert_close(ours[:, 1:-1].detach().double(), exact.detach(), rtol=1e-4, atol=1e-6)
    (ours[:, 1:-1] * G).sum().backward()
    (exact * G).sum().backward()
    torch.testing.assert_close(logits.grad[:, 1:-1].double(), exact_logits.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(temperature.grad.double(), exact_tau.grad, rtol=1e-3, atol=1e-5)
