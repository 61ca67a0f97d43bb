"""The blocked look-up against the dense one with the same noise, values and gradients."""

import sys
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import entropy, exponential_noise, gumbel_lookup, largest_logit
from tests.references.goodness_of_fit import chi_square_p

N, K, D, C, ROWS = 90, 40, 6, 5, 17


class Case(NamedTuple):
    x: Tensor
    weight: Tensor
    bias: Tensor
    codes: Tensor
    tau: Tensor


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["discrete_lightning.functional.gumbel_lookup"], "_ELEMENTS", K * ROWS)


def case(dtype: torch.dtype = torch.float64) -> Case:
    generator = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(N, D), (K, D), (K,), (K, C)]
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    return Case(*(x.requires_grad_() for x in tensors), torch.tensor(0.7, dtype=dtype, requires_grad=True))  # type: ignore[call-arg]


def dense(
    inputs: Case, hard: bool, seed: int, tempered: bool = False, held: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The whole matrices, with the noise that the blocks draw."""
    own = int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(seed)))
    generator = torch.Generator().manual_seed(own)
    logits = inputs.x @ inputs.weight.T + inputs.bias
    noise = torch.cat([exponential_noise(part.shape, generator=generator) for part in logits.split(ROWS)])
    z = logits - noise.to(logits.dtype).log()
    soft = torch.softmax(z / inputs.tau, -1)
    one_hot = torch.nn.functional.one_hot(z.argmax(-1), K).to(soft.dtype)
    sample = one_hot + (soft - soft.detach()) if hard else soft
    tau = inputs.tau if tempered else 1.0
    undecided = entropy((logits.detach() if held else logits) / tau).sum()
    return sample @ inputs.codes, z.argmax(-1), torch.softmax(logits / tau, -1).sum(0), undecided


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(("tempered", "held"), [(False, False), (True, False), (True, True), (False, True)])
def test_values_and_all_gradients(hard: bool, keep: bool, tempered: bool, held: bool) -> None:
    inputs = case()
    weights, slopes = torch.randn(N, C, dtype=torch.float64), torch.randn(K, dtype=torch.float64)
    result = gumbel_lookup(
        *inputs,
        hard=hard,
        statistics=True,
        tempered=tempered,
        held=held,
        keep=keep,
        generator=torch.Generator().manual_seed(3),
    )
    expected = dense(inputs, hard, 3, tempered, held)
    assert torch.equal(result.indices, expected[1])
    for mine, theirs in zip(result[:4], expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    losses = [(a * weights).sum() + (c * slopes).sum() + 0.3 * d for a, _, c, d in (result[:4], expected)]
    if keep:  # a loss of the logits, too
        assert result.logits is not None
        logits = inputs.x @ inputs.weight.T + inputs.bias
        torch.testing.assert_close(result.logits, logits)
        losses = [loss + each.square().sin().sum() for loss, each in zip(losses, (result.logits, logits), strict=True)]
    else:
        assert result.logits is None
    gradients = [torch.autograd.grad(loss, list(inputs)) for loss in losses]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
        assert theirs.abs().max() > 1e-3


def test_hard_gives_the_codes_bit_for_bit() -> None:
    inputs = case(torch.float32)
    result = gumbel_lookup(*inputs)
    assert torch.equal(result.quantized, inputs.codes[result.indices])
    assert not result.marginal.any()
    assert result.choice_entropy == 0


def test_draws_follow_the_softmax() -> None:
    x, weight, bias = (
        torch.zeros(40_000, 1),
        torch.zeros(8, 1),
        torch.randn(8, generator=torch.Generator().manual_seed(1)),
    )
    generator = torch.Generator().manual_seed(2)
    indices = gumbel_lookup(x, weight, bias, torch.zeros(8, 1), generator=generator).indices
    assert chi_square_p(torch.bincount(indices, minlength=8), torch.softmax(bias, 0)) > 1e-4


def test_the_same_seed_gives_the_same_bits() -> None:
    inputs = case(torch.float32)
    first, second = (gumbel_lookup(*inputs, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.quantized, second.quantized)
    torch.manual_seed(5)
    first = gumbel_lookup(*inputs)
    assert not torch.equal(first.indices, gumbel_lookup(*inputs).indices)
    torch.manual_seed(5)
    assert torch.equal(first.indices, gumbel_lookup(*inputs).indices)


def test_sixteen_bits_under_autocast_and_an_empty_batch() -> None:
    inputs = case(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        result = gumbel_lookup(inputs.x.bfloat16(), *inputs[1:], generator=torch.Generator().manual_seed(5))
    expected = gumbel_lookup(inputs.x.bfloat16().float(), *inputs[1:], generator=torch.Generator().manual_seed(5))
    assert torch.equal(result.indices, expected.indices)
    assert result.quantized.dtype == torch.float32
    empty = gumbel_lookup(torch.zeros(0, 3, D, requires_grad=True), *inputs[1:])
    assert empty.quantized.shape == (0, 3, C)
    empty.quantized.sum().backward()


def test_largest_logit() -> None:
    inputs = case(torch.float32)
    expected = (inputs.x @ inputs.weight.T + inputs.bias).argmax(-1)
    assert torch.equal(largest_logit(inputs.x, inputs.weight, inputs.bias), expected)


def test_errors() -> None:
    inputs = case(torch.float32)
    with pytest.raises(ValueError, match="tau must be positive"):
        gumbel_lookup(*inputs[:4], tau=0.0)
    with pytest.raises(ValueError, match=r"do not fit: got \(90, 6\)"):
        gumbel_lookup(inputs.x, inputs.weight[:, 1:], inputs.bias, inputs.codes)
    broken = inputs.x.detach().clone()
    broken[3, 1] = torch.nan
    with pytest.raises(ValueError, match=r"1 of 90 vectors .* not finite"):
        gumbel_lookup(broken, *inputs[1:])
