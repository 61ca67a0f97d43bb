"""Bias and deviation of the gradient that a router gets, against the exact gradient of what is deployed, by enumeration.

One token, N = 6 experts whose outputs f_i in R^8 and whose logits are N(0, 1), one expert drawn from p = softmax(logits). The
exact gradient is that of sum_i p_i L(f_i). Each way of estimating it is enumerated over all its draws: its mean minus the exact
gradient (bias), and the square root of its total variance (deviation), both divided by the exact gradient's norm. Medians over
problems, for three losses: quadratic |y - t|^2 / 2, a small tanh network, cross-entropy of a linear classifier.

    python -m benchmarks.routing.bias
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

EXPERTS, DIM, PROBLEMS = 6, 8, 40


class Problem(NamedTuple):
    """One token, float64.

    Attributes:
        logits: (N,).
        outputs: (N, d), f_i.
        loss: outputs (..., d) to losses (...).
    """

    logits: Tensor
    outputs: Tensor
    loss: Callable[[Tensor], Tensor]

    @property
    def p(self) -> Tensor:
        """Probabilities (N,)."""
        return torch.softmax(self.logits, 0)

    def slope(self, y: Tensor) -> Tensor:
        """dL/dy at outputs (..., d)."""
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            return torch.autograd.grad(self.loss(y).sum(), y)[0]

    def exact(self) -> Tensor:
        """The gradient of sum_i p_i L(f_i) to the logits."""
        losses = self.loss(self.outputs)
        return self.p * (losses - self.p @ losses)


class Draws(NamedTuple):
    """All draws of an estimator: (S,) their probabilities, and (S, N) the gradients that they give."""

    weights: Tensor
    gradients: Tensor


def problems(kind: str, count: int = PROBLEMS) -> Iterator[Problem]:
    """Random problems of one kind of loss: "quadratic", "tanh" or "cross-entropy"."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    for _ in range(count):
        logits, outputs, target = normal(EXPERTS), normal(EXPERTS, DIM), normal(DIM) / 2
        first, second = normal(16, DIM) / DIM**0.5, normal(16) / 4
        losses: dict[str, Callable[[Tensor], Tensor]] = {
            "quadratic": lambda y, t=target: (y - t).square().sum(-1) / 2,  # type: ignore[misc]
            "tanh": lambda y, a=first, b=second: torch.tanh(1.5 * y @ a.T) @ b,  # type: ignore[misc]
            "cross-entropy": lambda y, a=2 * first[:6]: (y @ a.T).logsumexp(-1) - (y @ a.T)[..., 0],  # type: ignore[misc]
        }
        yield Problem(logits, outputs, losses[kind])


def _each(problem: Problem, gradient: Callable[[Tensor, Tensor, Tensor], Tensor], scale: float = 1.0) -> Draws:
    """Draws D ~ p. `gradient` takes D as one-hot rows (N, N), g (N, N), whose row D is dL/dy . f_i at y = scale f_D, and p."""
    p, chosen = problem.p, torch.eye(EXPERTS, dtype=torch.float64)
    g = problem.slope(scale * problem.outputs) @ problem.outputs.T
    return Draws(p, gradient(chosen, g, p))


def _of_softmax(q: Tensor, g: Tensor) -> Tensor:
    return q * (g - (q * g).sum(-1, keepdim=True))


def _own(chosen: Tensor, g: Tensor) -> Tensor:
    return (chosen * g).sum(-1, keepdim=True)


def switch(problem: Problem) -> Draws:
    """y = p_D f_D, D the most likely."""
    p, top = problem.p, int(problem.p.argmax())
    y = p[top] * problem.outputs[top]
    chosen = torch.eye(EXPERTS, dtype=torch.float64)[top]
    return Draws(torch.ones(1, dtype=torch.float64), ((problem.slope(y) @ y) * (chosen - p)).unsqueeze(0))


def sparse_straight_through(problem: Problem) -> Draws:
    """Straight-through, g_i = 0 for experts that do not run."""
    return _each(problem, lambda chosen, g, p: _of_softmax(p, chosen * g))


def score_ratio(problem: Problem) -> Draws:
    """y = f_D p_D / sg(p_D)."""
    return _each(problem, lambda chosen, g, p: _own(chosen, g) * (chosen - p))


def midpoint(problem: Problem) -> Draws:
    """Output f_D / 2 in training."""
    return _each(problem, lambda chosen, g, p: _own(chosen, g) * (chosen - p), scale=0.5)


def straight_through(problem: Problem) -> Draws:
    """All experts run."""
    return _each(problem, lambda chosen, g, p: _of_softmax(p, g))


def reinmax(problem: Problem) -> Draws:
    """All experts run."""
    return _each(problem, lambda chosen, g, p: 2 * _of_softmax((p + chosen) / 2, g) - _of_softmax(p, g) / 2)


def paired(problem: Problem) -> Draws:
    """Two experts run: D, and j of the others, times 1 - p_D."""
    p, one = problem.p, torch.eye(EXPERTS, dtype=torch.float64)
    g = problem.slope(problem.outputs) @ problem.outputs.T
    weights, gradients = [], []
    for d in range(EXPERTS):
        for j in range(EXPERTS):
            if j != d:
                weights.append(p[d] * p[j] / (1 - p[d]))
                gradients.append((1 - p[d]) / 2 * (g[d, d] - g[d, j]) * (one[d] - one[j]))
    return Draws(torch.stack(weights), torch.stack(gradients))


def leave_one_out(problem: Problem) -> Draws:
    """Two whole passes, no slope."""
    p, one, losses = problem.p, torch.eye(EXPERTS, dtype=torch.float64), problem.loss(problem.outputs)
    pairs = [(d, e) for d in range(EXPERTS) for e in range(EXPERTS)]
    gradients = [(losses[d] - losses[e]) / 2 * (one[d] - one[e]) for d, e in pairs]
    return Draws(torch.stack([p[d] * p[e] for d, e in pairs]), torch.stack(gradients))


WAYS: dict[str, tuple[Callable[[Problem], Draws], str]] = {
    "Switch gate, argmax": (switch, "1"),
    "straight-through, g = 0 where not run": (sparse_straight_through, "1"),
    "score ratio": (score_ratio, "1"),
    "midpoint": (midpoint, "1"),
    "Paired": (paired, "1 + 1 forward"),
    "ReinMax, dense": (reinmax, "1 + 5 forward"),
    "StraightThrough, dense": (straight_through, "1 + 5 forward"),
    "LeaveOneOut(2)": (leave_one_out, "2 passes"),
}
KINDS = ("quadratic", "tanh", "cross-entropy")


def bias_and_deviation(way: Callable[[Problem], Draws], kind: str, count: int = PROBLEMS) -> tuple[float, float]:
    """Medians over problems, relative to the norm of the exact gradient."""
    biases, deviations = [], []
    for problem in problems(kind, count):
        weights, gradients = way(problem)
        exact = problem.exact()
        mean = weights @ gradients
        variance = weights @ (gradients - mean).square().sum(-1)
        biases.append((mean - exact).norm() / exact.norm())
        deviations.append(variance.sqrt() / exact.norm())
    return torch.stack(biases).median().item(), torch.stack(deviations).median().item()


if __name__ == "__main__":
    print(f"{'':40}{'experts run':16}{'bias: ' + ' / '.join(KINDS):38}deviation")
    for name, (way, price) in WAYS.items():
        found = [bias_and_deviation(way, kind) for kind in KINDS]
        bias, deviation = (" / ".join(f"{each[i]:.2f}" for each in found) for i in (0, 1))
        print(f"{name:40}{price:16}{bias:38}{deviation}")
