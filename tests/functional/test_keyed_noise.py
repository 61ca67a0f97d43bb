"""Keyed noise of functions and layers: words, streams, statistics, what is refused."""

import math
from itertools import combinations
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from discrete_lightning.functional import (
    exponential_noise,
    gumbel_lookup,
    gumbel_noise,
    gumbel_softmax,
    keyed_examples,
    keyed_noise,
    logistic_noise,
)
from discrete_lightning.functional._keyed import force
from discrete_lightning.functional._keyed_words import GAMMA, KeyedWords, mix, mix_number, signed
from discrete_lightning.functional._random import draw_seed, normal, uniform
from discrete_lightning.layers.relaxed import RelaxedBernoulli, RelaxedCategorical
from discrete_lightning.selection import Gate
from discrete_lightning.vq.quantizers.linear_gumbel import LinearGumbelQuantizer

CPU = torch.device("cpu")


def keys(rows: int) -> Tensor:
    return torch.randint(-(2**62), 2**62, (2, rows), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("rows", "inner"), [(3, 5), (7, 1), (2, 40_001), (500, 6), (4, 32_768)])
def test_numpy_and_torch_make_the_same_bits(rows: int, inner: int) -> None:
    words, count = KeyedWords(keys(rows), inner), rows * inner
    expected, long = words.integers(), words.long_integers()
    assert torch.equal(words.fill_(torch.empty(count, dtype=torch.int32), 0).long(), expected)
    assert torch.equal(words.fill_(torch.empty(count), 0), expected.float())
    assert torch.equal(words.fill_(torch.empty(count, dtype=torch.int64), 0), long)
    for start, stop in ((1, count), (count // 3, count // 2 + 1), (inner - 1, count - 1)):
        size = stop - start
        assert torch.equal(words.fill_(torch.empty(size, dtype=torch.int32), start).long(), expected[start:stop])
        assert torch.equal(words.fill_(torch.empty(size, dtype=torch.int64), start), long[start:stop])
        assert torch.equal(words.integers_at(start, size), expected[start:stop])


def test_words_are_those_of_the_formula() -> None:
    """By Python's own integers."""
    table = keys(2)
    words = KeyedWords(table, 6).integers().view(2, 6)
    for row in range(2):
        a, b = (int(each) % 2**64 for each in table[:, row])
        for number in range(6):
            z = (a + number // 2) * GAMMA % 2**64
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ z >> 27) ^ b
            z = z * 0x94D049BB133111EB % 2**64
            z ^= z >> 31
            half = (z >> 32 * (number % 2)) % 2**32
            assert int(words[row, number]) == (half + 2**31) % 2**32 - 2**31
    assert int(mix(torch.tensor(signed(12345)))) == signed(mix_number(12345))


DRAWS: dict[str, Any] = {
    "gumbel": lambda rows: gumbel_noise((rows, 5)),
    "exponential": lambda rows: exponential_noise((rows, 3, 2)),
    "logistic": lambda rows: logistic_noise(torch.Size((rows, 5))),
    "uniform": lambda rows: uniform((rows, 5), dtype=torch.float32, device=None, generator=None),
    "double": lambda rows: uniform((rows,), dtype=torch.float64, device=None, generator=None),
    "normal": lambda rows: normal((rows, 7), device=None, generator=None),
    "many": lambda rows: gumbel_noise((rows, 70_000)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_part_has_the_noise_of_the_whole(name: str) -> None:
    torch.manual_seed(0)
    with keyed_noise(3, (1, 2), 6):
        first, second = DRAWS[name](6), DRAWS[name](6)
    torch.manual_seed(1)
    for rank in range(3):
        with keyed_noise(3, (1, 2), torch.arange(rank, 6, 3)):
            assert torch.equal(DRAWS[name](2), first[rank::3])
            assert torch.equal(DRAWS[name](2), second[rank::3])
    assert not torch.equal(first, second)


def test_positions_belong_to_their_example() -> None:
    """(B, m, K), (B m, K) and (B, m' > m, K) agree where they overlap."""
    with keyed_noise(0, 0, 4):
        wide = gumbel_noise((4, 3, 5))
    with keyed_noise(0, 0, 4):
        assert torch.equal(gumbel_noise((12, 5)).view(4, 3, 5), wide)
    with keyed_noise(0, 0, 4):
        assert torch.equal(gumbel_noise((4, 7, 5))[:, :3], wide)


def test_seeds_steps_and_examples_differ() -> None:
    found = []
    for seed, step, examples in ((0, 0, 2), (1, 0, 2), (0, 1, 2), (0, (0, 0), 2), (0, 0, torch.tensor([2, 3]))):
        with keyed_noise(seed, step, examples):
            found += [*gumbel_noise((2, 9)), *gumbel_noise((2, 9))]
    for one, other in combinations(found, 2):
        assert (one != other).all()


def test_noise_of_the_batch_is_equal_on_all_ranks() -> None:
    bernoulli, gate = RelaxedBernoulli(), Gate(4, per="batch")
    found = []
    for examples in (torch.tensor([0, 2]), torch.tensor([1, 3])):
        with keyed_noise(0, 0, examples):
            with keyed_examples(None):
                shared = bernoulli(torch.zeros(4))
            found.append((shared, gate(torch.ones(2, 4)), RelaxedCategorical()(torch.zeros(2, 5))))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][2], found[1][2])


def test_padding_leaves_the_noise_of_the_other_examples() -> None:
    quantizer, x = LinearGumbelQuantizer(8, 3), torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([[2], [5], [1], [4]])
    with keyed_noise(0, 0, 4):
        whole = quantizer(x, mask).indices
    for rank in range(2):
        with keyed_noise(0, 0, torch.arange(rank, 4, 2)):
            assert torch.equal(quantizer(x[rank::2], mask[rank::2]).indices, whole[rank::2])


def test_a_large_lookup_in_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    x, table = torch.randn(6, 50, 4, generator=generator), torch.randn(3000, 4, generator=generator)
    with keyed_noise(0, 0, 6):
        whole = gumbel_lookup(x, table, torch.zeros(3000), table).indices
    with keyed_noise(0, 0, torch.tensor([1, 4])):
        assert torch.equal(gumbel_lookup(x[[1, 4]], table, torch.zeros(3000), table).indices, whole[[1, 4]])


def test_what_does_not_divide_is_refused() -> None:
    with keyed_noise(0, 0, 4):
        for draw in (
            lambda: gumbel_noise((6, 4)),
            lambda: gumbel_noise((1, 4)),
            lambda: gumbel_softmax(torch.zeros(4)),
        ):
            with pytest.raises(
                ValueError, match=r"does not divide among the 4 examples of this batch\. .*keyed_examples"
            ):
                draw()
        assert gumbel_noise((0, 4)).shape == (0, 4)
        with keyed_examples(6):
            assert gumbel_noise((6, 4)).shape == (6, 4)
    with pytest.raises(ValueError, match="at least 0"), keyed_noise(0, 0, -1):
        pass
    with (
        pytest.raises(ValueError, match="examples are a number or integers"),
        keyed_noise(0, 0, torch.ones(2, 2).long()),
    ):
        pass
    with keyed_noise(0, 0, 1), pytest.raises(RuntimeError, match="in force already"), keyed_noise(0, 0, 1):
        pass
    assert force.keys is None


def test_a_generator_of_the_callers_own_is_used() -> None:
    with keyed_noise(0, 0, 4):
        given = gumbel_noise((3, 2), generator=torch.Generator().manual_seed(1))
    assert torch.equal(given, gumbel_noise((3, 2), generator=torch.Generator().manual_seed(1)))


def test_a_forward_pass_of_another_step_is_refused() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    with keyed_noise(0, 0, 2):
        late = checkpoint(gumbel_softmax, x, use_reentrant=False).square().sum()
        careless = checkpoint(gumbel_softmax, x, use_reentrant=False, preserve_rng_state=False).square().sum()
        with pytest.raises(RuntimeError, match="preserve_rng_state=False"):
            careless.backward()
    with keyed_noise(0, 1, 2), pytest.raises(RuntimeError, match="its step is over"):
        late.backward()


def test_other_noise_is_left_alone() -> None:
    """After keyed noise, that of a checkpointed forward pass which was never keyed."""
    with keyed_noise(0, 0, 2):
        gumbel_noise((2, 3))
    x = torch.zeros(2, 3, requires_grad=True)
    torch.manual_seed(4)
    (expected,) = torch.autograd.grad(gumbel_softmax(x).square().sum(), x)
    torch.manual_seed(4)
    (found,) = torch.autograd.grad(checkpoint(gumbel_softmax, x, use_reentrant=False).square().sum(), x)
    assert torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own
def test_one_compilation_serves_all_steps() -> None:
    layer, x = RelaxedCategorical(), torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def model(x: Tensor) -> Tensor:
        return layer(layer(x) + x).square().flatten(1).sum(1)

    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for step in range(5):
        found = []
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            for each in (compiled, model):
                with keyed_noise(0, step, 4):
                    losses = each(x)
                found.append((losses, *torch.autograd.grad(losses.sum(), x)))
        torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # likewise
@pytest.mark.parametrize("compile_outside", [False, True])
def test_checkpointing_and_compiling_together(compile_outside: bool) -> None:
    layers = nn.ModuleList(nn.Sequential(nn.Linear(5, 5), RelaxedCategorical()) for _ in range(2))
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def model(x: Tensor, compiled: bool, saved: bool) -> Tensor:
        for layer in layers:
            call = torch.compile(layer, backend="aot_eager") if compiled and not compile_outside else layer
            x = checkpoint(call, x, use_reentrant=False) if saved else call(x)
        return x.square()

    found = []
    torch._dynamo.reset()
    for both in (False, True):
        call = torch.compile(model, backend="aot_eager") if both and compile_outside else model
        with keyed_noise(0, 0, 4):
            losses = call(x, both, both)
            found.append((losses, *torch.autograd.grad(losses.sum(), [x, *layers.parameters()])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_gumbel_tails_are_exact() -> None:
    """Counts beyond quantiles, at a confidence of 1 - 1e-5 each; 12 million draws."""
    count = 12_000_000
    with keyed_noise(0, 0, 12):
        noise = gumbel_noise((12, count // 12)).flatten()
    assert float(noise.min()) > -3.08
    assert float(noise.max()) < 22.3
    for tail in (0.1, 1e-3, 1e-5, 1e-6):
        for beyond in (noise > stats.gumbel_r.isf(tail), noise < stats.gumbel_r.ppf(tail)):
            low, high = stats.binom.ppf([5e-6, 1 - 5e-6], count, tail)
            assert low <= int(beyond.sum()) <= high, tail


def test_normal_tails() -> None:
    count = 4_000_000
    with keyed_noise(0, 0, 4):
        noise = normal((4, count // 4), device=None, generator=None).flatten()
    for tail in (0.1, 1e-3, 1e-5):
        for beyond in (noise > stats.norm.isf(tail), noise < stats.norm.ppf(tail)):
            low, high = stats.binom.ppf([5e-6, 1 - 5e-6], count, tail)
            assert low <= int(beyond.sum()) <= high, tail


def bytes_of(seed: int, step: int, examples: Tensor, count: int, skipped: int = 0) -> Tensor:
    """Uniform integers in 0..255 of each example, of the call after `skipped` others."""
    with keyed_noise(seed, step, examples):
        for _ in range(skipped):
            gumbel_noise((len(examples), 1))
        u = uniform((len(examples), count), dtype=torch.float32, device=None, generator=None)
    return (u * 256).long()


@pytest.mark.parametrize("what", ["seed", "step", "call", "example", "element", "half"])
def test_neighbours_are_independent(what: str) -> None:
    """Chi-square of pairs of high bits, 16 x 16 cells, and the correlation; 2^20 pairs, p in [1e-5, 1 - 1e-5]."""
    examples, count = torch.arange(1024), 1024
    first = bytes_of(0, 0, examples, 2 * count)
    second = {
        "seed": lambda: bytes_of(1, 0, examples, 2 * count),
        "step": lambda: bytes_of(0, 1, examples, 2 * count),
        "call": lambda: bytes_of(0, 0, examples, 2 * count, skipped=1),
        "example": lambda: bytes_of(0, 0, examples + 1, 2 * count),
        "element": lambda: first.roll(-2, 1),
        "half": lambda: first.roll(-1, 1),
    }[what]()
    one, other = first[:, ::2].flatten(), second[:, ::2].flatten()
    observed = torch.bincount((one >> 4) * 16 + (other >> 4), minlength=256)
    p = float(stats.chisquare(observed.numpy()).pvalue)
    assert 1e-5 < p < 1 - 1e-5
    correlation = float(torch.corrcoef(torch.stack([one, other]).double())[0, 1])
    assert abs(correlation) * math.sqrt(one.numel()) < stats.norm.isf(5e-6)


def test_seeds_of_calls_are_equal_on_all_ranks() -> None:
    found = []
    for examples in (torch.tensor([0]), torch.tensor([1])):
        with keyed_noise(0, 0, examples):
            found.append((int(draw_seed(None)), int(draw_seed(None))))
    assert found[0] == found[1]
    assert len(set(found[0])) == 2
