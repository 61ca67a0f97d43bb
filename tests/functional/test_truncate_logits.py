"""Truncated logits against a stable sort in float64: what stays, and draws of what stays."""

import math
from itertools import chain, repeat

import numpy as np
import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_max, truncate_logits
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded

INF = math.inf
Limits = dict[str, float]


def naive(row: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> np.ndarray:
    """Probabilities of one row after temperature, top-k, top-p, min-p."""
    z = row.double().numpy() / temperature
    p = np.exp(z - z.max())
    order = np.argsort(-z, kind="stable")
    if top_k:
        p[order[top_k:]] = 0
    p /= p.sum()
    if top_p < 1:
        reached = np.flatnonzero(np.cumsum(p[order]) >= top_p * (1 - 1e-12))[0]
        p[order[reached + 1 :]] = 0
        p /= p.sum()
    p[p < min_p * p.max()] = 0
    return p / p.sum()


SETTINGS: list[Limits] = [
    {}, {"temperature": 0.7}, {"temperature": 1.5}, {"temperature": 30.0},
    {"top_k": 1}, {"top_k": 5}, {"top_k": 39}, {"top_k": 40}, {"top_k": 10, "temperature": 0.5},
    {"top_p": 0.0}, {"top_p": 1e-9}, {"top_p": 0.3}, {"top_p": 0.9}, {"top_p": 0.999}, {"top_p": 1.0},
    {"top_p": 0.8, "temperature": 1.3}, {"top_p": 0.8, "temperature": 0.2},
    {"min_p": 0.0}, {"min_p": 0.05}, {"min_p": 0.5}, {"min_p": 1.0}, {"min_p": 0.1, "temperature": 2.0},
    {"top_k": 12, "top_p": 0.7}, {"top_k": 12, "min_p": 0.1}, {"top_p": 0.95, "min_p": 0.02},
    {"top_k": 20, "top_p": 0.9, "min_p": 0.05, "temperature": 0.8}, {"top_k": 3, "top_p": 0.99, "min_p": 0.01},
]  # fmt: skip
each_setting = pytest.mark.parametrize("limits", SETTINGS, ids=str)


def rows(size: int = 40, dtype: torch.dtype = torch.float32) -> Tensor:
    """Peaked, flat and masked rows."""
    x = torch.randn(6, size, generator=seeded(size)) * torch.tensor([0.1, 1.0, 2.0, 5.0, 1.0, 30.0]).unsqueeze(-1)
    x[4, ::2] = -INF
    return x.to(dtype)


def check(x: Tensor, limits: Limits) -> Tensor:
    found = truncate_logits(x, **limits)
    expected = np.stack([naive(row, **limits) for row in x.flatten(0, -2)])
    kept = ~found.isneginf().flatten(0, -2).numpy()
    assert ((expected > 0) == kept).all()
    return found


@each_setting
def test_the_kept_set_is_that_of_a_stable_sort(limits: Limits) -> None:
    for dtype in (torch.float32, torch.float64):
        x = rows(dtype=dtype)
        found = check(x, limits)
        expected = torch.tensor(np.stack([naive(row, **limits) for row in x]))
        torch.testing.assert_close(found.double().softmax(-1), expected, rtol=1e-4, atol=1e-6)
        assert found.dtype == dtype
        if limits.get("temperature", 1.0) == 1.0:
            kept = found.isfinite()
            assert torch.equal(found[kept], x[kept])


@each_setting
def test_draws(limits: Limits) -> None:
    """Chi-square of 100,000 draws, p > .001, with a fixed seed."""
    row = rows()[2]
    logits = truncate_logits(row, **limits)
    index = gumbel_max(logits.expand(100_000, -1), generator=seeded(1))
    expected = torch.tensor(naive(row, **limits))
    if expected.max() == 1:
        assert (index == expected.argmax()).all()
    else:
        assert chi_square_p(index.bincount(minlength=40), expected) > 1e-3


@pytest.mark.parametrize("top_p", [0.0, 0.02, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("scale", [0.3, 3.0, 10.0])
def test_large_vocabularies(top_p: float, scale: float) -> None:
    """Where the last category that stays is selected instead of sorted, with and without ties and masks."""
    x = torch.randn(3, 20_000, generator=seeded(2)) * scale
    x[1] = (x[1] * 4).round() / 4
    x[2, 100:19_900] = -INF
    for dtype in (torch.float32, torch.float64):
        check(x.to(dtype), {"top_p": top_p})
    check(x[:1].bfloat16(), {"top_p": top_p})
    check(torch.zeros(1, 20_000), {"top_p": top_p})


@pytest.mark.parametrize("limits", [{"top_k": 7}, {"top_p": 0.5}, {"top_k": 300, "top_p": 0.4, "min_p": 0.3}], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_16_bits_are_full_of_ties(limits: Limits, dtype: torch.dtype) -> None:
    x = (torch.randn(4, 3000, generator=seeded(3)) * 0.5 + 8).to(dtype)
    assert len(x[0].unique()) < 600
    found = check(x, limits)
    assert found.dtype == dtype
    check(x, {**limits, "temperature": 0.7})


@pytest.mark.parametrize("size", [1, 4, 10, 1000])
def test_equal_logits_keep_the_first(size: int) -> None:
    x = torch.full((2, size), -3.25)
    for k in {1, (size + 1) // 2, size}:
        assert torch.equal(truncate_logits(x, top_k=k).isfinite(), (torch.arange(size) < k).expand(2, -1))
    for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        kept = truncate_logits(x, top_p=share).isfinite()
        count = max(1, math.ceil(round(share * size, 6)))
        assert torch.equal(kept, (torch.arange(size) < count).expand(2, -1)), (share, size)
    assert truncate_logits(x, min_p=1.0).isfinite().all()


@pytest.mark.parametrize("limits", [{"top_k": 1}, {"top_p": 0.0}, {"top_p": 1e-30}], ids=str)
def test_argmax(limits: Limits) -> None:
    x = rows()
    for temperature in (1e-30, 1.0, 1e30):
        found = truncate_logits(x, temperature, **limits)
        assert torch.equal(gumbel_max(found), x.argmax(-1))


def test_the_largest_stay_at_min_p_of_1() -> None:
    found = truncate_logits(torch.tensor([1.0, 3.0, 2.0, 3.0]), min_p=1.0)
    assert found.tolist() == [-INF, 3.0, -INF, 3.0]


def test_limits_that_change_nothing() -> None:
    x = rows()
    assert torch.equal(truncate_logits(x, top_k=40, top_p=1.0, min_p=0.0), x)
    assert torch.equal(truncate_logits(torch.ones(2, 1), top_k=1, top_p=0.3, min_p=1.0), torch.ones(2, 1))


@pytest.mark.parametrize("limits", [{"top_k": 3}, {"top_p": 0.99}, {"min_p": 0.01}], ids=str)
def test_masked_categories_never_count(limits: Limits) -> None:
    x = torch.tensor([[-INF, 1.0, -INF, 0.0, -INF, -INF], [-INF, -INF, 2.0, -INF, -INF, -INF]])
    for temperature in (1.0, 0.5, leaf(0.5)):
        found = truncate_logits(x, temperature, **limits)
        assert torch.equal(found.isneginf(), x.isneginf())


def test_gradients_reach_what_is_kept_and_a_learned_temperature() -> None:
    x, tau = leaf(rows()), leaf(0.8)
    found = truncate_logits(x, tau, top_k=12, top_p=0.9)
    kept = found.isfinite()
    target = torch.where(kept, found, 0.0).softmax(-1)[:, 0].sum()
    target.backward()
    y, sigma = leaf(rows()), leaf(0.8)
    plain = torch.where(kept, y / sigma - (y / sigma).detach().amax(-1, keepdim=True), 0.0).softmax(-1)[:, 0].sum()
    plain.backward()
    assert not x.grad[~kept].any()
    torch.testing.assert_close(x.grad, y.grad)
    assert x.grad[kept].abs().sum() > 0


def test_the_gradient_of_a_temperature() -> None:
    x, tau = rows()[1], leaf(0.8)
    kept = truncate_logits(x, top_k=9, temperature=0.8).isfinite()
    found = truncate_logits(x, tau, top_k=9).log_softmax(-1)[kept]
    sigma = leaf(0.8)
    expected = (x[kept] / sigma).log_softmax(-1)
    weights = torch.randn(9, generator=seeded(4))
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(tau.grad, sigma.grad)


def test_a_temperature_a_row() -> None:
    x = rows()
    tau = torch.tensor([0.5, 1.0, 2.0, 0.7, 1.0, 3.0]).unsqueeze(-1)
    found = truncate_logits(x, tau, top_p=0.8)
    for each, row, t in zip(found, x, tau, strict=True):
        torch.testing.assert_close(each, truncate_logits(row, float(t), top_p=0.8) - float(t == 1) * row.max())


@pytest.mark.parametrize("shape", [(0, 5), (2, 0, 5), (5,), (2, 3, 5)], ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=seeded(5), requires_grad=True)
    found = truncate_logits(x, 0.5, top_k=3, top_p=0.9, min_p=0.1)
    assert found.shape == x.shape
    found.exp().sum().backward()
    if x.numel():
        check(x.detach().reshape(-1, 5), {"temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1})


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"top_k": 0}, "top_k must be between 1 and the number of categories, got 0 of 40"),
        ({"top_k": 41}, "got 41 of 40"),
        ({"top_p": 1.5}, r"top_p is a probability, in \[0, 1\], got 1.5"),
        ({"top_p": -0.1}, "got -0.1"),
        ({"top_p": math.nan}, "got nan"),
        ({"min_p": 2.0}, "min_p is a probability"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": -1.0}, "temperature must be positive"),
    ],
)
def test_arguments_out_of_range(limits: Limits, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        truncate_logits(rows(), **limits)


@pytest.mark.parametrize("limits", SETTINGS[::4], ids=str)
def test_nan_is_refused(limits: Limits) -> None:
    for bad, words in ((math.nan, "1 hold NaN"), (INF, r"1 hold \+inf")):
        x = rows()
        x[3, 7] = bad
        with pytest.raises(ValueError, match=words):
            truncate_logits(x, **limits)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")
@pytest.mark.parametrize("limits", [{"top_k": 7}, {"top_p": 0.8}, SETTINGS[-2]], ids=str)
def test_compiled(limits: Limits) -> None:
    compiled = torch.compile(truncate_logits, fullgraph=True, backend="aot_eager")
    for x in chain(rows().split(1), repeat(torch.zeros(1, 40), 1)):
        torch.testing.assert_close(compiled(x, **limits), truncate_logits(x, **limits))


def test_over_examples_by_vmap() -> None:
    x = rows()
    for limits in ({"top_k": 7}, {"top_p": 0.8}):
        assert torch.equal(
            torch.func.vmap(lambda row, of=limits: truncate_logits(row, **of))(x), truncate_logits(x, **limits)
        )
