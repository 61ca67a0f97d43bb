"""What must hold for any input, with inputs that hypothesis looks for (derandomised: no seed of the moment)."""

import math
from itertools import pairwise
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from discrete_lightning import functional as F
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.answer_journal import Answer, AnswerJournal
from discrete_lightning.estimators import Estimator
from discrete_lightning.losses import choice_entropy, code_diversity, marginal_entropy
from discrete_lightning.metrics import CodeUsage
from discrete_lightning.schedules import Constant, Cosine, Delayed, Exponential, Linear, Schedule, Staircase
from tests.references.every_estimator import ALL
from tests.vq.quantizers.makers import ALL as QUANTIZERS
from tests.vq.quantizers.makers import some_vectors

PATHWISE: list[Estimator] = [each for each in ALL if each.pathwise and each.categorical]
DETERMINISTIC_DIM = ("softmax", "entropy", "kl_to_uniform")
TAUS = st.sampled_from([1e-3, 0.1, 0.5, 1.0, 3.0, 100.0])
SEEDS = st.integers(0, 2**30)
# no files are written, and no example depends on the speed of the machine
searched = settings(derandomize=True, deadline=None, database=None, max_examples=30)


@st.composite
def logits(draw: Any, least: int = 1, masked: bool = True, rows: int | None = None) -> Tensor:
    """Logits (rows, K) of some scale; `least` categories or more of each row are not masked."""
    count = draw(st.integers(0, 4)) if rows is None else rows
    size = draw(st.integers(least, 9))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 20.0, 1e4]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]))
    x = torch.randn(count, size, generator=generator) * scale
    if masked and draw(st.booleans()):
        rank = torch.randn(count, size, generator=generator).argsort(-1)
        x = x.masked_fill(rank >= draw(st.integers(least, size)), -math.inf)
    return x.to(dtype)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tolerance(x: Tensor) -> float:
    return 8 * x.shape[-1] * torch.finfo(x.dtype).eps


@searched
@given(logits(), TAUS, SEEDS, st.sampled_from(PATHWISE))
def test_samples_lie_on_the_simplex_and_leave_masked_categories_out(
    x: Tensor, tau: float, seed: int, estimator: Any
) -> None:
    sample = estimator(x, tau, seeded(seed))
    assert sample.shape == x.shape
    assert sample.dtype == x.dtype
    assert ((sample >= 0) & (sample <= 1)).all()
    assert ((sample.double().sum(-1) - 1).abs() <= tolerance(x)).all()
    assert not sample[x.isneginf()].any()
    if estimator.hard:
        assert ((sample == 0) | (sample == 1)).all()
        assert (sample.sum(-1) == 1).all()


@searched
@given(logits(least=3), TAUS, SEEDS, st.sampled_from(PATHWISE), st.integers(1, 3))
def test_subsets_have_their_size(x: Tensor, tau: float, seed: int, estimator: Any, k: int) -> None:
    sample = estimator.subset(x, k, tau, seeded(seed))
    assert ((sample.double().sum(-1) - k).abs() <= 4 * tolerance(x)).all()
    assert not sample[x.isneginf()].any()
    if estimator.hard:
        assert ((sample == 0) | (sample == 1)).all()


@searched
@given(logits(), TAUS, SEEDS, st.sampled_from(PATHWISE))
def test_gradients_sum_to_zero_over_categories(x: Tensor, tau: float, seed: int, estimator: Any) -> None:
    """Probabilities do not change when all logits do: no gradient points that way."""
    leaf = x.float().requires_grad_()
    sample = estimator(leaf, tau, seeded(seed))
    weights = torch.randn(x.shape, generator=seeded(seed + 1))
    (gradient,) = torch.autograd.grad((sample * weights).sum(), leaf)
    assert gradient.isfinite().all()
    size = gradient.abs().amax(-1, keepdim=True) if gradient.numel() else gradient
    assert (gradient.sum(-1, keepdim=True).abs() <= 1e-5 * size * x.shape[-1] + 1e-6 / tau).all()


@searched
@given(logits(masked=False), SEEDS, st.sampled_from([0.0, 1.0, -7.0, 64.0]))
def test_a_shift_of_all_logits_changes_nothing(x: Tensor, seed: int, shift: float) -> None:
    x = x.double().clamp(-100, 100).mul(8).round().div(8)  # sums of eighths are exact
    for function in (F.entropy, F.softmax, F.kl_to_uniform):
        assert torch.allclose(function(x), function(x + shift), atol=1e-5)
    draws = [F.gumbel_softmax(each, 0.7, hard=True, generator=seeded(seed)) for each in (x, x + shift)]
    assert torch.equal(*draws)


@searched
@given(logits(), SEEDS)
def test_noise_that_moves_along_moves_the_draw(x: Tensor, seed: int) -> None:
    """The largest of logits + noise, its categories in another order, is the same category."""
    noise = F.gumbel_noise(x.shape, generator=seeded(seed))
    order = torch.randperm(x.shape[-1], generator=seeded(seed + 1))
    scores = x.float() + noise
    one, other = F.argmax_one_hot(scores, x), F.argmax_one_hot(scores[..., order], x[..., order])
    assert torch.equal(one[..., order], other)
    tau = 0.5
    assert torch.allclose(F.softmax(scores, tau)[..., order], F.softmax(scores[..., order], tau), atol=1e-6)


@searched
@given(logits(masked=False), TAUS, st.sampled_from(DETERMINISTIC_DIM), st.integers(0, 2))
def test_another_dimension_is_a_moved_one(x: Tensor, tau: float, name: str, dim: int) -> None:
    cube = x.float().expand(2, *x.shape) + torch.tensor([0.0, 1.0]).view(2, 1, 1)
    if not cube.shape[dim]:
        return
    moved = cube.movedim(dim, -1)
    if name == "softmax":
        assert torch.allclose(F.softmax(cube, tau, dim), F.softmax(moved, tau).movedim(-1, dim), atol=1e-6)
    else:
        assert torch.allclose(getattr(F, name)(cube, dim), getattr(F, name)(moved), atol=1e-5)


@searched
@given(logits())
def test_entropies_keep_their_bounds(x: Tensor) -> None:
    size, eps = x.shape[-1], 1e-5 + 8 * torch.finfo(x.dtype).eps
    h, most = F.entropy(x), math.log(size)
    assert ((h >= -eps) & (h <= most + most * eps + eps)).all()
    assert torch.allclose(
        h.double() + F.kl_to_uniform(x).double(), torch.tensor(most).double(), atol=4 * eps * (1 + most)
    )
    assert -eps <= choice_entropy(x) <= most + eps
    assert choice_entropy(x) <= marginal_entropy(x) + 1e-4  # Jensen's inequality
    assert -eps <= code_diversity(x) <= 1 - 1 / size + eps
    counts = F.softmax(x).double().sum(0)
    assert not x.numel() or 1 - 1e-6 <= F.perplexity(counts) <= size + 1e-6


@searched
@given(logits(masked=False), st.sampled_from([(0.05, 0.1), (0.5, 1.0), (1.0, 10.0), (0.1, 100.0)]))
def test_entropy_rises_with_temperature(x: Tensor, taus: tuple[float, float]) -> None:
    low, high = (F.softmax(x, tau) for tau in taus)
    entropies = [torch.special.entr(p.double()).sum(-1) for p in (low, high)]
    assert (entropies[0] <= entropies[1] + 1e-5).all()
    if x.numel():
        assert (low.amax(-1) >= high.amax(-1) - 1e-6).all()


@searched
@given(logits(least=2), st.integers(1, 2))
def test_marginals_of_subsets(x: Tensor, k: int) -> None:
    marginals = F.subset_marginals(x.float(), k)
    assert torch.allclose(marginals.sum(-1), torch.tensor(float(k)), atol=1e-4)
    assert ((marginals >= 0) & (marginals <= 1 + 1e-5)).all()
    order = x.argsort(-1)  # more likely categories are in more subsets
    assert (marginals.gather(-1, order).diff(dim=-1) >= -1e-4).all()


@searched
@given(logits(least=2), SEEDS, st.integers(1, 2))
def test_a_draw_is_possible_and_has_a_probability(x: Tensor, seed: int, k: int) -> None:
    if k == 1:
        log_p = F.log_probability(x, F.categorical_one_hot(x, generator=seeded(seed)))
    else:
        log_p = F.log_probability(x, F.subset_k_hot(x, k, generator=seeded(seed)), k=k)
    assert log_p.isfinite().all()
    assert (log_p <= 1e-3).all()


@searched
@given(logits(), st.integers(1, 9), st.sampled_from([0.0, 0.4, 0.9, 1.0]))
def test_truncation_keeps_the_most_likely(x: Tensor, top_k: int, top_p: float) -> None:
    kept = ~F.truncate_logits(x, top_k=min(top_k, x.shape[-1]), top_p=top_p).isneginf()
    assert kept.gather(-1, x.argmax(-1, keepdim=True)).all()
    assert (kept.sum(-1) <= min(top_k, x.shape[-1])).all()
    least = torch.where(kept, x, math.inf).amin(-1, keepdim=True) if x.numel() else x
    assert not (~kept & (x > least)).any()


@settings(searched, max_examples=60)
@given(st.sampled_from(sorted(QUANTIZERS)), SEEDS, st.integers(0, 5))
def test_codes_of_codes_are_themselves(name: str, seed: int, rows: int) -> None:
    """decode(encode(x)) is what the quantiser returns, and quantising a code of one table gives it back."""
    torch.manual_seed(seed)
    quantizer = QUANTIZERS[name]().eval()
    x = some_vectors(rows, quantizer.dim, seed=seed)
    found = quantizer(x)
    codes = quantizer.decode(found.indices)
    assert torch.allclose(codes, found.quantized, atol=1e-5)
    if name in ("ema", "ema_rotation", "learned", "finite_scalar", "lookup_free"):
        assert torch.allclose(quantizer.decode(quantizer(codes).indices), codes, atol=1e-5)


@st.composite
def schedules(draw: Any) -> tuple[Schedule, float, float]:
    """A schedule, and its bounds."""
    low, high = sorted(draw(st.lists(st.floats(-100, 100), min_size=2, max_size=2)))
    start, end = draw(st.permutations([low, high]))
    steps = draw(st.integers(1, 1000))
    kind = draw(st.sampled_from([Constant, Linear, Cosine, Exponential]))
    made: Schedule
    if kind is Constant:
        return Constant(low), low, low
    if kind is Exponential:
        low, high = abs(low) / 2, abs(low) + abs(high)
        made = Exponential(high, draw(st.floats(0, 10)), low)
    else:
        made = kind(start, end, steps)
    wrapped = draw(st.sampled_from([None, "staircase", "delayed"]))
    if wrapped == "staircase":
        made = Staircase(made, draw(st.integers(1, 50)))
    elif wrapped == "delayed":
        made = Delayed(made, draw(st.integers(0, 50)))
    return made, low, high


@searched
@given(schedules(), st.lists(st.floats(0, 1e6), min_size=1, max_size=6))
def test_schedules_stay_in_their_bounds_and_on_their_way(
    made: tuple[Schedule, float, float], steps: list[float]
) -> None:
    schedule, low, high = made
    values = [schedule(step) for step in sorted(steps)]
    margin = 1e-9 * (1 + abs(low) + abs(high))
    assert all(low - margin <= value <= high + margin for value in values)
    moves = [b - a for a, b in pairwise(values)]
    assert all(move <= margin for move in moves) or all(move >= -margin for move in moves)


@searched
@given(st.lists(st.lists(st.integers(0, 4), max_size=6), max_size=4))
def test_usage_of_parts_is_that_of_the_whole(parts: list[list[int]]) -> None:
    metric, whole = CodeUsage(5), CodeUsage(5)
    for part in [*parts, []]:
        metric.update(torch.tensor(part, dtype=torch.int64))
    whole.update(torch.tensor([each for part in parts for each in part], dtype=torch.int64))
    assert torch.equal(metric.compute(), whole.compute())


@searched
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=20))
def test_each_answer_is_recalled_once(pairs: list[tuple[int, int]]) -> None:
    """As often as it was given, in the order in which it was given."""
    answers = [Answer(at, DNA.decode(torch.tensor([row])), False, (float(at),)) for at, (row, _) in enumerate(pairs)]
    journal = AnswerJournal(__file__, answers[::-1])  # type: ignore[arg-type]
    for answer in answers:
        assert journal.recall(answer.sequence, False) == answer.values
    assert all(journal.recall(letter, False) is None for letter in "ACGT")
