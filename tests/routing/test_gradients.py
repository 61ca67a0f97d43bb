"""The router's gradient: bias and deviation by enumeration, and that the layers have these gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.routing.bias import WAYS, Problem, bias_and_deviation, paired, problems, reinmax, straight_through
from discrete_lightning.estimators import Estimator, Paired, ReinMax, StraightThrough
from discrete_lightning.routing import MixtureOfExperts, SampledRouter
from discrete_lightning.routing.experts import Experts
from discrete_lightning.routing.functional import subset_log_probability

# (bias of quadratic, tanh, cross-entropy), and how far from these figures the medians of 40 problems of one kind may lie
TABLE = {
    "Switch gate, argmax": (1.28, 0.89, 0.93),
    "straight-through, g = 0 where not run": (0.90, 0.90, 0.77),
    "score ratio": (0.74, 0.63, 0.25),
    "midpoint": (0.0, 0.23, 0.07),
    "Paired": (0.0, 0.40, 0.15),
    "ReinMax, dense": (0.0, 0.40, 0.15),
    "StraightThrough, dense": (0.70, 0.44, 0.37),
    "LeaveOneOut(2)": (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_benchmark(name: str) -> None:
    for kind, expected in zip(("quadratic", "tanh", "cross-entropy"), TABLE[name], strict=True):
        assert bias_and_deviation(WAYS[name][0], kind)[0] == pytest.approx(expected, abs=0.01), kind


def test_paired_is_reinmax_in_the_mean_and_exact_for_quadratic_losses() -> None:
    for kind in ("quadratic", "tanh", "cross-entropy"):
        for problem in problems(kind, 10):
            means = [draws.weights @ draws.gradients for draws in (paired(problem), reinmax(problem))]
            torch.testing.assert_close(*means, rtol=0, atol=1e-9)
            if kind == "quadratic":
                torch.testing.assert_close(means[0], problem.exact(), rtol=0, atol=1e-9)


def test_paired_costs_variance() -> None:
    ratios = {
        kind: bias_and_deviation(paired, kind)[1] / bias_and_deviation(reinmax, kind)[1]
        for kind in ("quadratic", "tanh")
    }
    assert 1.2 < ratios["quadratic"] < 1.5
    assert 2.0 < ratios["tanh"] < 2.6


class Constant(Experts):
    """Experts whose outputs do not depend on the token."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.count, self.dim, self.outputs = len(outputs), outputs.shape[1], outputs

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        group = torch.searchsorted(ends, torch.arange(len(rows), dtype=torch.int32), right=True)
        return self.outputs[group] + 0 * rows


def sampled_gradients(problem: Problem, estimator: Estimator, k: int, rows: int, **options: Any) -> Tensor:
    """The gradient to the logits of each of `rows` equal tokens, from the layer itself; the loss is that of each token."""
    count, dim = problem.outputs.shape
    router = SampledRouter(dim, count, k, estimator=estimator, balance=0.0, **options)
    layer = MixtureOfExperts(Constant(problem.outputs), count, k, router)
    logits = problem.logits.expand(rows, count).clone().requires_grad_()
    router.scores = lambda x: logits  # type: ignore[method-assign]
    y = layer(torch.zeros(rows, dim, dtype=torch.float64))
    problem.loss(y).sum().backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize(
    ("estimator", "way"),
    [(Paired(), paired), (ReinMax(), reinmax), (StraightThrough(), straight_through)],
    ids=["Paired", "ReinMax", "StraightThrough"],
)
@pytest.mark.parametrize("kind", ["quadratic", "tanh"])
def test_the_layer_has_the_enumerated_mean_and_deviation(kind: str, estimator: Estimator, way) -> None:
    """Within 5 standard errors of 40,000 draws; deviations within 5 %."""
    torch.manual_seed(0)
    for problem in problems(kind, 2):
        found = sampled_gradients(problem, estimator, 1, 40_000)
        draws = way(problem)
        mean = draws.weights @ draws.gradients
        assert ((found.mean(0) - mean).abs() <= 5 * found.std(0) / len(found) ** 0.5 + 1e-9).all()
        deviation = (draws.weights @ (draws.gradients - mean).square()).sum().sqrt()
        assert float(found.var(0).sum().sqrt()) == pytest.approx(float(deviation), rel=0.05)


@pytest.mark.parametrize("estimator", [StraightThrough(), ReinMax()], ids=repr)
def test_two_of_six_for_a_linear_loss_is_the_enumerated_gradient(estimator: Estimator) -> None:
    """Exact in the mean: the sum over all 15 sets of p(S) L(S)."""
    torch.manual_seed(0)
    problem = next(problems("quadratic", 1))
    direction = torch.randn(problem.outputs.shape[1], dtype=torch.float64)
    linear = Problem(problem.logits, problem.outputs, lambda y: y @ direction)
    subsets = torch.combinations(torch.arange(6), 2)
    logits = problem.logits.clone().requires_grad_()
    losses = linear.loss(problem.outputs[subsets].mean(1))
    exact = torch.autograd.grad(subset_log_probability(logits, subsets).exp() @ losses, logits)[0]
    found = sampled_gradients(linear, estimator, 2, 40_000)
    assert ((found.mean(0) - exact).abs() <= 5 * found.std(0) / len(found) ** 0.5).all()


@pytest.mark.parametrize("estimator", [Paired(), ReinMax()], ids=repr)
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_with_less_noise_it_is_the_gradient_of_sharper_draws(noise: float, estimator: Estimator) -> None:
    """Exact for a quadratic loss: the gradient of sum_i p_i L(f_i) with p = softmax(logits / noise)."""
    torch.manual_seed(0)
    problem = next(problems("quadratic", 1))
    logits = problem.logits.clone().requires_grad_()
    losses = problem.loss(problem.outputs)
    exact = torch.autograd.grad(torch.softmax(logits / noise, 0) @ losses, logits)[0]
    found = sampled_gradients(problem, estimator, 1, 40_000, noise=noise)
    assert ((found.mean(0) - exact).abs() <= 5 * found.std(0) / len(found) ** 0.5).all()


@pytest.mark.parametrize("estimator", [Paired(), ReinMax(), StraightThrough()], ids=repr)
def test_softmax_gates_get_their_own_gradient_and_that_of_the_choice(estimator: Estimator) -> None:
    """Two of six, a linear loss: the bias is a small part of that of a gradient through the gates alone."""
    torch.manual_seed(0)
    subsets, ratios = torch.combinations(torch.arange(6), 2), []
    for problem in problems("quadratic", 5):
        linear = Problem(problem.logits, problem.outputs, lambda y: y[..., 0])
        logits = problem.logits.clone().requires_grad_()
        gates = torch.softmax(logits[subsets], -1)
        losses = linear.loss((gates.unsqueeze(-1) * problem.outputs[subsets]).sum(1))
        p = subset_log_probability(logits, subsets).exp()
        exact = torch.autograd.grad(p @ losses, logits, retain_graph=True)[0]
        gates_alone = torch.autograd.grad(p.detach() @ losses, logits)[0]
        found = sampled_gradients(linear, estimator, 2, 20_000, gates="softmax").mean(0)
        ratios.append(float((found - exact).norm() / (gates_alone - exact).norm()))
    assert sorted(ratios)[2] < 0.4, ratios


@pytest.mark.parametrize("estimator", [Paired(), ReinMax(), StraightThrough()], ids=repr)
def test_what_all_experts_have_in_common_gives_softmax_gates_no_gradient(estimator: Estimator) -> None:
    torch.manual_seed(0)
    problem = next(problems("quadratic", 1))
    equal = Problem(problem.logits, problem.outputs[:1].expand(6, -1), lambda y: y[..., 0])
    found = sampled_gradients(equal, estimator, 2, 2_000, gates="softmax")
    assert found.mean(0).norm() < 1e-6
