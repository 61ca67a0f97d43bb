"""Conditional depth: open tokens alone pass, causally, at the share that was asked for, with the estimator's gradient."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator, GumbelSoftmax, LeaveOneOut, ReinMax, StraightThrough
from discrete_lightning.layers.choices import choices_made
from discrete_lightning.routing import Conditional, ExpertMLP, Gated, MixtureOfExperts, TokenGate, routing_loss
from discrete_lightning.routing.conditional import Tokens
from tests.ranks import run_on_ranks
from tests.references.inputs import seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*no optimiser trains what it computes from")
DIM = 8


class Attention(nn.Module):
    """A block with attention to earlier tokens, or to all."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal, self.norm = causal, nn.LayerNorm(DIM)
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        seen = None if mask is None else mask.unsqueeze(1)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=self.causal)
        return x + self.out(y)


def layer(
    tokens: Tokens = "causal", estimator: Estimator | str = "threshold", share: float = 0.5, seed: int = 0
) -> Conditional:
    torch.manual_seed(seed)
    block = nn.Linear(DIM, DIM) if tokens == "independent" else Attention(tokens == "causal")
    module = Conditional(block, share, estimator, tokens)
    nn.init.normal_(module.gate.weight)
    return module


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, DIM, generator=seeded(seed))


def reference(module: Conditional, x: Tensor, gated: Gated) -> Tensor:
    """Each row by itself: the block on its open tokens, weighed by their gates."""
    y = x.clone()
    for row, chosen in enumerate(gated.open):
        if chosen.any():
            mask = (
                {"mask": torch.ones(1, int(chosen.sum()), dtype=torch.bool)} if module.tokens == "bidirectional" else {}
            )
            out = module.block(x[row, chosen].unsqueeze(0), **mask)[0]
            gates = gated.gates[row, chosen].unsqueeze(-1)
            y[row, chosen] = (1 - gates) * x[row, chosen] + gates * out
    return y


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("estimator", ["threshold", "ratio", ReinMax()], ids=str)
@pytest.mark.parametrize("tokens", ["causal", "bidirectional", "independent"])
def test_open_tokens_pass_and_others_stay(
    tokens: Tokens, estimator: Estimator | str, training: bool, masked: bool
) -> None:
    module, x = layer(tokens, estimator).train(training), rows(3, 9)
    mask = torch.arange(9) < torch.tensor([[9], [5], [0]]) if masked else None
    torch.manual_seed(1)
    y = module(x, mask)
    torch.manual_seed(1)
    gated = module.gate(x, mask)
    assert 0 < gated.open.float().mean() < 1
    torch.testing.assert_close(y, reference(module, x, gated), rtol=1e-5, atol=1e-6)
    assert torch.equal(y[~gated.open], x[~gated.open])
    ones = gated.gates[gated.open] == 1
    assert not ones.any() if estimator == "threshold" else ones.all()
    if estimator == "threshold":  # nothing is drawn
        assert torch.equal(y, module.eval()(x, mask))
    if mask is not None:
        assert not gated.open[~mask].any()


@pytest.mark.parametrize("rule", ["threshold", "ratio"])
def test_gradients_of_the_block_are_those_of_its_tokens(rule: str) -> None:
    module, x = layer(estimator=rule), rows(3, 9).requires_grad_()
    v, found = rows(3, 9, seed=2), []
    # gates of the threshold have all of their gradient in their value; those of a draw have more, which is left out here
    module.gate.requires_grad_(rule == "threshold")
    parameters = [x, *module.parameters()] if rule == "threshold" else list(module.block.parameters())
    for compute in (module, lambda x: reference(module, x, module.gate(x))):
        torch.manual_seed(1)
        found.append(torch.autograd.grad((compute(x) * v).sum(), parameters))
    for value, wanted in zip(*found, strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("estimator", ["threshold", "ratio", ReinMax(), GumbelSoftmax()], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_causal(training: bool, estimator: Estimator | str) -> None:
    """The last token changes nothing before it, be it open or not; nor do its neighbours in other rows."""
    module, x = layer(estimator=estimator).train(training), rows(4, 12)
    changed = x.clone()
    changed[:, -1] = 30 * rows(4, seed=3)
    found = []
    for each in (x, changed):
        torch.manual_seed(1)
        found.append(module(each))
    torch.testing.assert_close(found[0][:, :-1], found[1][:, :-1], rtol=1e-6, atol=1e-6)


def test_eval_is_deterministic_and_equal_token_by_token() -> None:
    module, x = layer("independent").eval(), rows(2, 10)
    whole = module(x)
    assert torch.equal(whole, module(x))
    for t in range(10):
        torch.testing.assert_close(module(x[:, t : t + 1]), whole[:, t : t + 1], rtol=1e-6, atol=1e-6)
    causal = layer().eval()
    whole = causal(x)
    for t in range(1, 10):
        torch.testing.assert_close(causal(x[:, :t]), whole[:, :t], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", ["threshold", "ratio", ReinMax()], ids=str)
@pytest.mark.parametrize("share", [0.125, 0.5, 0.8])
def test_the_share_is_met_in_training_and_in_eval(share: float, rule: Estimator | str) -> None:
    """From tokens whose logits have another mean and size: within .02 after 60 steps."""
    module = layer("independent", rule, share)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    generator = seeded(0)
    for _ in range(60):
        x = torch.randn(4, 500, DIM, generator=generator) + 0.5
        module(x).square().mean().backward()
        optimizer.step()
    x = torch.randn(4, 2000, DIM, generator=generator) + 0.5
    assert module.gate(x).open.float().mean().item() == pytest.approx(share, abs=0.02)
    assert module.eval().gate(x).open.float().mean().item() == pytest.approx(share, abs=0.02)


def gradient_of_the_logit(estimator: Estimator | str, function: Any, draws: int = 60_000) -> tuple[Tensor, float]:
    """Gradients to the log-odds of equal tokens, and the exact one; the block adds 1 to a token of zeros."""

    class Add(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1.0

    module = Conditional(Add(), 0.3, estimator, "independent", dim=1)
    logits = torch.full((1, draws), 0.4, requires_grad=True)
    module.gate._logits = lambda x: logits  # type: ignore[method-assign]
    torch.manual_seed(0)
    y = module(torch.zeros(1, draws, 1))[..., 0]
    function(y).sum().backward()
    p = torch.sigmoid(torch.tensor(0.4) + module.gate.offset).item()
    zero, one = (function(torch.tensor(float(b))).item() for b in (0, 1))
    assert logits.grad is not None
    return logits.grad[0], p * (1 - p) * (one - zero)


@pytest.mark.parametrize("estimator", ["ratio", StraightThrough(), ReinMax()], ids=str)
def test_the_gradient_is_exact_in_the_mean_for_what_it_is_exact_for(estimator: Estimator | str) -> None:
    functions = [lambda y: 3 * y] if estimator != ReinMax() else [lambda y: 3 * y, lambda y: (y - 0.3) ** 2]
    for function in functions:
        found, exact = gradient_of_the_logit(estimator, function)
        assert abs(found.mean().item() - exact) < 5 * found.std().item() / len(found) ** 0.5 + 1e-6


def test_nothing_open_and_nothing_there() -> None:
    module = layer()
    with torch.no_grad():
        module.gate.threshold.fill_(100.0)
    x = rows(2, 5).requires_grad_()
    y = module(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert module(rows(2, 0)).shape == (2, 0, DIM)
    assert module(rows(0, 3)).shape == (0, 3, DIM)


@pytest.mark.parametrize("rule", ["threshold", "ratio"])
@pytest.mark.parametrize("tokens", ["causal", "bidirectional", "independent"])
def test_a_gate_that_let_nothing_through_still_learns_and_counts(tokens: Tokens, rule: str) -> None:
    """Else the gate could never open again, and a rank without an open token would not join the others."""
    module, x = layer(tokens, rule), rows(2, 5)
    with torch.no_grad():
        module.gate.threshold.fill_(100.0)
        module.gate.offset.fill_(-100.0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    y = module(x)
    assert torch.equal(y, x)
    y.sum().backward()
    assert all(each.grad is not None for each in module.parameters())
    optimizer.step()
    assert module.gate.updates == 1
    assert module.gate.threshold < 50


def test_a_mixture_inside_where_nothing_is_open() -> None:
    torch.manual_seed(0)
    inside = MixtureOfExperts(ExpertMLP(DIM, 4), 4, 2, "top_k")
    module = Conditional(inside, 0.5, tokens="independent", dim=DIM)
    for threshold in (0.0, 100.0, 0.0):
        with torch.no_grad():
            module.gate.threshold.fill_(threshold)
        (module(rows(2, 5)).square().sum() + routing_loss(module)).backward()


@pytest.mark.parametrize("estimator", ["threshold", "ratio", ReinMax(), GumbelSoftmax()], ids=str)
def test_the_loss_of_a_mixture_inside_is_that_of_the_pass_with_a_graph(estimator: Estimator | str) -> None:
    inside = MixtureOfExperts(ExpertMLP(DIM, 4), 4, 2, "top_k")
    module = Conditional(inside, 0.5, estimator, "independent", dim=DIM)
    (module(rows(2, 5)).square().sum() + routing_loss(module)).backward()
    assert inside.router.weight.grad is not None


def test_a_share_is_kept_while_training_moves_the_logits() -> None:
    """Tokens with a large mean, a high learning rate: where all logits moved at once, no gate would be open at the end."""
    for seed in range(5):
        torch.manual_seed(seed)
        module = Conditional(nn.Linear(64, 64), 0.5, tokens="independent")
        x, target = torch.randn(4, 32, 64) + 5, torch.randn(64, 64) / 8
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            (module(x) - x @ target).square().mean().backward()
            optimizer.step()
        assert 0.35 < float(module.gate(x).open.float().mean()) < 0.65, seed


def test_a_compiled_block_gets_positions() -> None:
    class Placed(nn.Module):
        def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
            assert positions is not None
            return x + positions.unsqueeze(-1)

    x = rows(2, 9)
    for block in (Placed(), torch.compile(Placed(), backend="eager")):
        module = Conditional(block, 0.5, "ratio", dim=DIM).eval()
        y, is_open = module(x), module.gate(x).open
        places = torch.arange(9.0).expand(2, 9)
        torch.testing.assert_close((y - x)[is_open], places[is_open].unsqueeze(-1).expand(-1, DIM))


def test_bfloat16_and_autocast() -> None:
    module = layer("independent").bfloat16()
    assert module.gate.weight.dtype == torch.float32
    assert module(rows(2, 5).bfloat16()).dtype == torch.bfloat16
    module = layer()
    x = rows(2, 50)
    expected = module.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=5e-2, atol=5e-2)


def test_the_monitor_sees_gates() -> None:
    gate, x = TokenGate(DIM), rows(2, 5)
    gated = gate(x)
    choices = choices_made(gate, {"x": x}, gated)
    assert choices is not None
    assert choices.are_gates
    assert torch.equal(choices.chosen[..., 0], gated.open)


def on_a_rank(rule: str) -> tuple[Tensor, Tensor]:
    from discrete_lightning.distributed import rank, world_size
    from discrete_lightning.nn import update_after_step

    module = layer("independent", rule).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    if world_size() > 1:
        update_after_step(module, optimizer)
    for step in range(5):
        x = rows(4, 50, seed=step)
        module(x.chunk(world_size())[rank()]).square().mean().backward()
        optimizer.step()
    return module.gate.threshold, module.gate.offset


@pytest.mark.parametrize("rule", ["threshold", "ratio"])
def test_two_ranks_have_one_threshold(rule: str) -> None:
    """Draws differ between ranks; what follows from the logits alone is that of one process."""
    found = run_on_ranks(on_a_rank, rule)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[0][0], on_a_rank(rule)[0])


def test_copies_are_independent() -> None:
    module = layer("independent")
    twin = copy.deepcopy(module)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.0)
    twin(rows(2, 5)).square().mean().backward()
    optimizer.step()
    assert twin.gate.updates == 1
    assert module.gate.updates == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conditional(nn.Linear(DIM, DIM), 1.0), r"in \(0, 1\), got 1.0"),
        (lambda: Conditional(nn.Linear(DIM, DIM), estimator=LeaveOneOut()), "needs a loss for each token"),
        (lambda: Conditional(nn.Linear(DIM, DIM), estimator=None), "one of threshold, ratio; got None"),
        (lambda: Conditional(nn.Linear(DIM, DIM), estimator="best"), "one of threshold, ratio; got 'best'"),
        (lambda: Conditional(nn.Tanh()), "give dim"),
        (lambda: Conditional(nn.Linear(DIM, DIM), tokens="some"), "'causal', 'bidirectional' or 'independent'"),
        (lambda: Conditional(nn.Linear(DIM, 3))(rows(2, 5)), "keeps the shape of its tokens"),
        (lambda: layer()(rows(5)), r"takes x of shape \(B, S, 8\), got \(5, 8\)"),
        (lambda: layer()(rows(2, 5), torch.ones(5, 2, dtype=torch.bool)), "of its first dimensions"),
        (lambda: layer()(rows(2, 5) * torch.nan), "NaN"),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
