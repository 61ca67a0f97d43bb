"""level="sequence": all tokens of a row go to the experts that the router chooses for their mean."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import LeaveOneOut
from discrete_lightning.layers.choices import choices_made
from discrete_lightning.routing import ExpertMLP, MixtureOfExperts, routing_loss
from discrete_lightning.routing.training.watched import watched_routers
from tests.references.inputs import seeded
from tests.routing.makers import COUNT, DIM, ESTIMATORS, HIDDEN, NAMES, ONE, gradients_of_scores

ROUTERS = [name for name in NAMES if name != "expert_choice"]


def mixture(name: str, router: Any = None, tokens: Any = "bidirectional") -> MixtureOfExperts:
    torch.manual_seed(0)
    form, k = ExpertMLP(DIM, HIDDEN), 1 if name in ONE else 2
    router = ESTIMATORS.get(name, name) if router is None else router
    layer = MixtureOfExperts(form, COUNT, k, router, tokens=tokens, level="sequence")
    nn.init.normal_(layer.router.weight, std=3)  # of the mean of tokens, which is small
    return layer


def reference(layer: MixtureOfExperts, x: Tensor, routed: Any, mask: Tensor) -> Tensor:
    """One row after the other: all experts on all its tokens, weighed by the gates of the row."""
    y = torch.zeros_like(x)
    for row in range(len(x)):
        weights = torch.zeros(COUNT)
        for slot, expert in enumerate(routed.indices[row].tolist()):
            if routed.taken is None or routed.taken[row, slot]:
                weights[expert] += routed.gates[row, slot].detach()
        for expert in range(COUNT):
            tokens = x[row, mask[row]]
            ends = (torch.arange(COUNT, dtype=torch.int32) >= expert).int() * len(tokens)  # all rows to one expert
            y[row, mask[row]] += weights[expert] * layer.experts(tokens, ends.to(torch.int32))
    return y


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("name", ROUTERS)
def test_all_tokens_of_a_row_go_to_the_experts_of_their_mean(name: str, masked: bool, training: bool) -> None:
    layer, x = mixture(name).train(training), torch.randn(5, 4, DIM, generator=seeded(1))
    mask = torch.ones(5, 4, dtype=torch.bool)
    if masked:
        mask[0, 2:], mask[3] = False, False
        x[~mask] = torch.nan
    seen: list[Any] = []
    torch.manual_seed(2)
    with watched_routers(layer, lambda _, routed: seen.append(routed)):
        y = layer(x, mask if masked else None)
    assert seen[0].probabilities.shape == (5, COUNT)  # one choice a row
    kept = [row for row in range(5) if mask[row].any()]
    means = torch.stack([x[row, mask[row]].mean(0) for row in kept])
    if not training:
        torch.testing.assert_close(seen[0].logits[kept], layer.router(means).logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        y, reference(layer, torch.where(mask.unsqueeze(-1), x, 0.0), seen[0], mask), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", ROUTERS)
def test_rows_do_not_see_one_another_and_the_router_learns(name: str) -> None:
    layer, x = mixture(name), torch.randn(5, 4, DIM, generator=seeded(1))
    layer(x).square().sum().backward()
    assert layer.router.weight.grad is not None
    assert layer.router.weight.grad.isfinite().all()
    assert layer.router.weight.grad.abs().max() > 0
    layer.eval()
    torch.testing.assert_close(layer(x)[2], layer(x[2:3])[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(layer(x), layer(x))


def test_the_load_is_that_of_rows() -> None:
    layer = mixture("bias_balanced")
    layer(torch.randn(7, 4, DIM, generator=seeded(1))).sum().backward()
    counts = layer.router.pending_counts()
    assert counts is not None
    assert counts.sum() == 14  # 7 rows, 2 experts each
    mask = torch.zeros(7, 4, dtype=torch.bool)
    mask[:3, 0] = True
    layer.router.drop_pending()
    layer(torch.randn(7, 4, DIM, generator=seeded(1)), mask).sum().backward()
    counts = layer.router.pending_counts()
    assert counts is not None
    assert counts.sum() == 6


@pytest.mark.parametrize("noise", [1.0, 3.0])
@pytest.mark.parametrize("tokens", ["independent", "bidirectional"])
def test_leave_one_out_has_the_exact_gradient_in_the_mean(tokens: str, noise: float) -> None:
    layer = mixture("sampled", LeaveOneOut(2), tokens)
    layer.router.noise.set(noise)
    one, rows = torch.randn(1, 4, DIM, generator=seeded(1)), 20_000
    scores, grads = layer.router.scores, gradients_of_scores(layer)
    losses = layer.expectation(lambda y: y.square().sum((-2, -1)), one.expand(rows, 4, DIM))
    assert losses.shape == (rows,)
    assert routing_loss(layer).isfinite()
    losses.sum().backward()
    logits = scores(one.mean(1))[0].detach().requires_grad_()
    ends = torch.arange(1, COUNT + 1, dtype=torch.int32) * 4
    values = layer.experts(one[0].repeat(COUNT, 1), ends).view(COUNT, -1).square().sum(-1).detach()
    (torch.softmax(logits / noise, 0) @ values).backward()
    assert logits.grad is not None
    error = 5 * grads[0].std(0) / rows**0.5 + 1e-6
    assert ((grads[0].mean(0) - logits.grad).abs() < error).all()


def test_monitors_see_what_an_expectation_draws() -> None:
    layer, x, seen = mixture("sampled", LeaveOneOut(2), "independent"), torch.randn(7, 4, DIM), []
    with watched_routers(layer, lambda _, routed: seen.append(routed)):
        layer.expectation(lambda y: y.square().sum((-2, -1)), x)
    assert [each.indices.shape for each in seen] == [(2, 7, 1)]
    assert layer.loss is not None
    assert layer.loss.requires_grad  # of the balance loss
    choices = choices_made(layer.router, {}, seen[0])
    assert choices is not None
    assert torch.equal(choices.chosen, seen[0].indices)


def test_bad_input_and_none() -> None:
    layer = mixture("top_k")
    with pytest.raises(ValueError, match=r"takes sequences \(..., S, d\), got \(8,\)"):
        layer(torch.zeros(DIM))
    with pytest.raises(ValueError, match=r"one choice a sequence, x of shape \(B, S, 8\), got \(3, 8\)"):
        layer.expectation(lambda y: y.sum((-2, -1)), torch.zeros(3, DIM))
    assert layer(torch.zeros(2, 0, DIM)).shape == (2, 0, DIM)
    assert layer(torch.zeros(0, 3, DIM)).shape == (0, 3, DIM)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
@pytest.mark.parametrize("name", ["paired", "bias_balanced"])
def test_one_compiled_graph(name: str) -> None:
    torch._dynamo.reset()
    layer, x = mixture(name), torch.randn(3, 5, DIM, generator=seeded(1))
    mask = torch.arange(5) < torch.tensor([[3], [5], [0]])
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    (compiled(x, mask).square().sum() + routing_loss(layer)).backward()
    assert layer.router.weight.grad is not None
    assert layer.router.weight.grad.abs().max() > 0
    layer.eval()
    torch.testing.assert_close(compiled(x, mask), layer(x, mask), rtol=1e-5, atol=1e-6)
