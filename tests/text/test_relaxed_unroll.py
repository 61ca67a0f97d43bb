"""Unrolled lines against the same written out, and their gradients against enumeration of a small language."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import (
    Estimator,
    GumbelSoftmax,
    ReinMax,
    Softmax,
    StraightThrough,
)
from discrete_lightning.functional import leave_one_out
from discrete_lightning.functional._random import draw_seed, numbered_seed
from discrete_lightning.text import GRUNetwork, TokenChoice, TokenNetwork, TransformerNetwork, relaxed_unroll
from tests.references.every_estimator import PATHWISE
from tests.text.tiny_language import LINES, PROMPT, TOKENS, WORDS, StepNetwork, log_probabilities

V, T, B = 7, 5, 3
PLAIN = [each for each in PATHWISE if each.categorical]


def gru() -> TokenNetwork:
    torch.manual_seed(0)
    network = GRUNetwork(V, dim=4, hidden_dim=6).double()
    nn.init.normal_(network.embedding.weight)
    return network


def transformer() -> TokenNetwork:
    torch.manual_seed(0)
    network = TransformerNetwork(V, context=8, dim=8, heads=2, layers=1).double()
    nn.init.normal_(network.embedding.weight)
    return network


def prompts() -> Tensor:
    return torch.tensor([[1, 2], [3, 4], [0, 0]])


def written_out(
    network: TokenNetwork, choice: TokenChoice, table: Tensor, last: int, seed: int, end: int | None
) -> tuple[Tensor, Tensor]:
    """Every step by itself with all logits at once: samples (B, T, V) @ table, and the tokens."""
    seed = int(draw_seed(torch.Generator().manual_seed(seed)))
    prompt = network.embedding.look_up(prompts())
    inputs, rows, tokens = [prompt], [], []
    alive = torch.ones(B, 1, dtype=torch.float64)
    for t in range(T):
        hidden = network.hidden(torch.cat(inputs, 1))[0][:, -1]
        eye = torch.eye(V, dtype=torch.float64)
        bias = network.head.bias
        sample, index = choice.choose(hidden, network.head.weight, bias, eye, seed=numbered_seed(seed, t))
        sample = sample * alive
        rows.append(sample @ table)
        tokens.append(index if end is None else torch.where(alive[:, 0] > 0, index, end))
        if end is not None:
            alive = alive * (index != end).double().unsqueeze(1)
        fed = sample if t >= T - 1 - last else sample.detach()
        own = network.embedding.weight if t >= T - 1 - last else network.embedding.weight.detach()
        inputs.append((fed @ own).unsqueeze(1))
    return torch.stack(rows, 1), torch.stack(tokens, 1)


@pytest.mark.parametrize("make", [gru, transformer])
@pytest.mark.parametrize("last", [0, 2, 4])
@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize("estimator", PLAIN, ids=repr)
def test_equals_steps_that_are_written_out(
    make: Callable[[], TokenNetwork], last: int, end: int | None, estimator: Estimator
) -> None:
    network, choice = make(), TokenChoice(estimator, 0.8)
    table = torch.randn(V, 3, dtype=torch.float64, requires_grad=True)
    generator = torch.Generator().manual_seed(4)
    lines = relaxed_unroll(network, choice, prompts(), T, table=table, end=end, through_last=last, generator=generator)
    rows, tokens = written_out(network, choice, table, last, 4, end)
    assert torch.equal(lines.indices, tokens)
    torch.testing.assert_close(lines.rows, rows, rtol=1e-5, atol=1e-5)
    slopes = torch.randn(B, T, 3, dtype=torch.float64)
    wanted = [table, *network.parameters()]
    found, expected = (
        torch.autograd.grad((each.sin() * slopes).sum(), wanted, allow_unused=True) for each in (lines.rows, rows)
    )
    for mine, theirs in zip(found, expected, strict=True):
        mine, theirs = (torch.zeros(()) if each is None else each for each in (mine, theirs))
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5, check_dtype=False)


def test_nothing_after_the_end_counts() -> None:
    network = gru()
    with torch.no_grad():
        network.head.bias[5] += 3.0  # often the end
    lines = relaxed_unroll(network, TokenChoice(), prompts().repeat(10, 1), T, end=5)
    ended = (lines.indices == 5).cumsum(1)
    assert torch.equal(lines.mask, ended - (lines.indices == 5).long() == 0)
    assert not lines.mask.all()
    assert (lines.rows[~lines.mask] == 0).all()
    after = (lines.rows * (~lines.mask).unsqueeze(-1)).sum()
    gradients = torch.autograd.grad(after, list(network.parameters()))
    assert all((each == 0).all() for each in gradients)


def test_without_a_table_rows_are_the_networks_own() -> None:
    network = gru()
    for last in (0, None):
        lines = relaxed_unroll(network, TokenChoice(), prompts(), T, through_last=last)
        torch.testing.assert_close(lines.rows, network.embedding.weight[lines.indices])


def test_without_gradients_nothing_is_kept() -> None:
    network = gru()
    with torch.no_grad():
        lines = relaxed_unroll(network, TokenChoice(), prompts(), T, through_last=0)
    assert not lines.rows.requires_grad
    drawn = relaxed_unroll(network, TokenChoice().eval(), prompts(), T, through_last=0)
    assert torch.autograd.grad(drawn.rows.sum(), network.head.bias, allow_unused=True)[0] is None


def test_a_bfloat16_network() -> None:
    network = gru().to(torch.bfloat16)
    for last in (0, 2, None):
        lines = relaxed_unroll(network, TokenChoice(StraightThrough()), prompts(), T, through_last=last)
        assert lines.rows.dtype == torch.float32
        lines.rows.square().sum().backward()
    for each in network.parameters():
        assert each.grad is not None
        assert each.grad.isfinite().all()


def test_bad_input_is_refused() -> None:
    network, choice = gru(), TokenChoice()
    with pytest.raises(ValueError, match="length must be at least 1"):
        relaxed_unroll(network, choice, prompts(), 0)
    with pytest.raises(ValueError, match=r"P >= 1, got shape \(3, 0\)"):
        relaxed_unroll(network, choice, prompts()[:, :0], T)
    with pytest.raises(ValueError, match="from 0 to length - 1 = 4, got 5"):
        relaxed_unroll(network, choice, prompts(), T, through_last=5)
    with pytest.raises(ValueError, match=r"V=7 tokens, got shape \(8, 3\)"):
        relaxed_unroll(network, choice, prompts(), T, table=torch.zeros(8, 3))


# Gradients in the mean, against all 125 lines of the small language


def mean_gradient(
    network: StepNetwork, estimator: Estimator, reward: Tensor, quadratic: bool, draws: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Mean and standard error of the gradient to the last step's weights, over independent batches."""
    batches = 20
    choice, found = TokenChoice(estimator), []
    eye = torch.eye(WORDS, dtype=torch.float64)
    prompt = torch.full((draws // batches, 1), PROMPT)
    for _ in range(batches):
        rows = relaxed_unroll(network, choice, prompt, TOKENS, table=eye, through_last=0).rows
        each = torch.einsum("bti,tij,btj->b", rows, reward, rows) if quadratic else (rows * reward).sum((1, 2))
        gradients = torch.autograd.grad(each.mean(), [network.maps, network.shifts])
        found.append([gradient[-1] for gradient in gradients])
    stacked = [torch.stack(each) for each in zip(*found, strict=True)]
    return [each.mean(0) for each in stacked], [each.std(0) / batches**0.5 for each in stacked]


@pytest.mark.parametrize(
    ("estimator", "quadratic"), [(StraightThrough(), False), (ReinMax(), True), (ReinMax(), False)], ids=repr
)
def test_the_last_words_gradient_is_exact_in_the_mean(estimator: Estimator, quadratic: bool) -> None:
    """Rewards linear (ReinMax: quadratic) in each word; the words before the last are then given."""
    torch.manual_seed(1)
    network = StepNetwork()
    reward = torch.randn(TOKENS, WORDS, *([WORDS] if quadratic else []), dtype=torch.float64)
    mean, error = mean_gradient(network, estimator, reward, quadratic, 20_000)
    words = reward.diagonal(dim1=1, dim2=2) if quadratic else reward
    values = words[torch.arange(TOKENS), LINES].sum(1)
    expected = torch.autograd.grad((log_probabilities(network).exp() * values).sum(), [network.maps, network.shifts])
    for found, deviation, gradient in zip(mean, error, expected, strict=True):
        assert ((found - gradient[-1]).abs() < 5 * deviation + 1e-9).all()
        assert gradient[-1].abs().max() > 10 * deviation.max()  # the test can see a wrong sign or scale


def test_leave_one_out_over_lines_is_exact_in_the_mean() -> None:
    torch.manual_seed(2)
    network, batches = StepNetwork(), 40
    reward = torch.randn(len(LINES), dtype=torch.float64)
    parameters = [network.maps, network.shifts, network.head.bias]
    found = []
    for _ in range(batches):
        with torch.no_grad():
            lines = relaxed_unroll(network, TokenChoice(), torch.full((500, 1), PROMPT), TOKENS).indices
        place = (lines * torch.tensor([WORDS**2, WORDS, 1])).sum(1)
        loss = leave_one_out(reward[place], log_probabilities(network)[place])
        found.append(torch.autograd.grad(loss, parameters))
    expected = torch.autograd.grad((log_probabilities(network).exp() * reward).sum(), parameters)
    for drawn, gradient in zip(zip(*found, strict=True), expected, strict=True):
        stacked = torch.stack(drawn)
        deviation = stacked.std(0) / batches**0.5
        assert ((stacked.mean(0) - gradient).abs() < 5 * deviation + 1e-9).all()
        assert gradient.abs().max() > 5 * deviation.max()


@pytest.mark.parametrize("estimator", [Softmax(), GumbelSoftmax()], ids=repr)
def test_through_all_steps_it_is_the_gradient_of_the_relaxed_line(estimator: Estimator) -> None:
    """Against finite differences, where a relaxed line is a smooth function of the weights."""
    network, choice = StepNetwork(), TokenChoice(estimator, 1.3)
    eye = torch.eye(WORDS, dtype=torch.float64)
    weights = torch.linspace(-1, 1, TOKENS * WORDS, dtype=torch.float64).view(TOKENS, WORDS)

    def value() -> Tensor:
        prompt = torch.full((4, 1), PROMPT)
        generator = torch.Generator().manual_seed(5)
        rows = relaxed_unroll(network, choice, prompt, TOKENS, table=eye, generator=generator).rows
        return (rows.double() * weights).sum()

    (gradient,) = torch.autograd.grad(value(), network.shifts)
    direction = torch.randn(network.shifts.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.shifts += 1e-5 * direction
        above = value()
        network.shifts -= 2e-5 * direction
        below = value()
    torch.testing.assert_close((gradient * direction).sum(), (above - below) / 2e-5, rtol=1e-3, atol=1e-5)
