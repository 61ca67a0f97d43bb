"""Cases of `fuzz` for functions and estimators: samples of rows, subsets and bits."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.reliability.fuzz_case import Case, close, epsilon, gradient_size, sample_faults, spread
from benchmarks.reliability.fuzz_inputs import Draw, Logits
from discrete_lightning import functional as F
from tests.references import subsets
from tests.references.every_estimator import ALL

_HIGH = 1e6  # a spread beyond which float32 cannot tell what it is asked for


def _leaves(given: Logits, tau: Any, k: int = 1) -> list[tuple[Tensor, float]]:
    """Of k choices, each after those before it, the gradients multiply."""
    found = [(given.leaf, gradient_size(given.x, tau, k))] if given.leaf.requires_grad else []
    if isinstance(tau, Tensor) and tau.requires_grad:
        found.append((tau, gradient_size(given.x, tau, k + 1)))
    return found


def _shape_of(tau: Any) -> str:
    if not isinstance(tau, Tensor):
        return f"tau {tau!r}"
    values = f" {float(tau.detach()):.3g}" if tau.numel() == 1 else ""
    return f"tau {tau.dtype}{tuple(tau.shape)}{values}"


# Samples of categories


def _relaxed(draw: Draw) -> Case:
    name = draw.random.choice(("gumbel_softmax", "softmax"))
    given_dim = draw.random.choice((-1, -1, 0))
    given = draw.logits(dim=given_dim)
    rows = list(given.x.shape)
    rows[given_dim] = 1
    tau, right = draw.tau(rows)
    hard = name == "gumbel_softmax" and draw.chance(0.5)
    options: dict[str, Any] = {"dim": given_dim} | (
        {"hard": hard, "generator": draw.generator} if name != "softmax" else {}
    )

    def check(sample: Tensor) -> Iterator[str]:
        like = given.x.float() if name == "softmax" and given.x.dtype.itemsize == 2 else given.x
        yield from sample_faults(sample, like, 1.0, given_dim, hard)
        if name == "softmax" and sample.numel() and (wide := spread(given.x, tau)) < _HIGH:
            divisor = tau.detach().double() if isinstance(tau, Tensor) else tau
            x = given.x.detach().double()
            expected = ((x - x.amax(given_dim, keepdim=True)) / divisor).softmax(given_dim)
            eps = epsilon(sample)
            yield from close(sample, expected, "softmax", 4 * eps + 4e-7 * (1 + wide), eps)

    what = f"{name}({given.words}, {_shape_of(tau)}, dim={given_dim}{', hard' if hard else ''})"
    call = getattr(F, name)
    return Case(what, lambda: call(given.x, tau, **options), right and not given.bad, _leaves(given, tau), check)


_HARD: dict[str, Callable[..., Any]] = {
    "gapped_straight_through": F.gapped_straight_through,
    "gumbel_rao": F.gumbel_rao,
    "gumbel_rao of 2": partial(F.gumbel_rao, samples=2),
    "reinmax": F.reinmax,
}
_DRAWS: dict[str, Callable[..., Any]] = {"categorical_one_hot": F.categorical_one_hot, "paired": F.paired}


def _hard(draw: Draw) -> Case:
    name = draw.random.choice([*_HARD, *_DRAWS])
    given = draw.logits()
    takes_tau = name in _HARD
    tau, right = draw.tau([*given.x.shape[:-1], 1]) if takes_tau else (1.0, True)
    call = partial(_HARD[name], tau=tau) if takes_tau else _DRAWS[name]
    return Case(
        f"{name}({given.words}{', ' + _shape_of(tau) if takes_tau else ''})",
        lambda: call(given.x, generator=draw.generator),
        right and not given.bad,
        _leaves(given, tau),
        lambda sample: sample_faults(sample, given.x, 1.0, hard=True),
    )


def _index(draw: Draw) -> Case:
    name = draw.random.choice(("gumbel_max", "softmax_draw", "draw_pair", "argmax_one_hot"))
    given = draw.logits()
    tau, right = draw.tau([*given.x.shape[:-1], 1]) if name == "softmax_draw" else (1.0, True)

    def check(result: Any) -> Iterator[str]:
        x = given.x.detach()
        if name == "argmax_one_hot":
            yield from sample_faults(result, x, 1.0, hard=True)
            if x.numel() and not torch.equal(x.gather(-1, result.argmax(-1, keepdim=True))[..., 0], x.amax(-1)):
                yield "not the largest"
            return
        index = result[1] if name == "softmax_draw" else result.drawn if name == "draw_pair" else result
        if name == "softmax_draw":
            yield from sample_faults(result[0], x.float() if x.dtype.itemsize == 2 else x, 1.0)
        if index.dtype != torch.int64 or index.shape != x.shape[:-1]:
            yield f"index {index.dtype}{tuple(index.shape)} of logits {tuple(x.shape)}"
        elif x.numel() and x.gather(-1, index.unsqueeze(-1)).isneginf().any():
            yield "a masked category was drawn"
        if name == "draw_pair" and ((result.rival == result.drawn) & (result.weight > 0)).any():
            yield "a rival that was drawn itself"

    calls: dict[str, Callable[[], Any]] = {
        "gumbel_max": lambda: F.gumbel_max(given.x, generator=draw.generator),
        "softmax_draw": lambda: F.softmax_draw(given.x, tau, generator=draw.generator),
        "draw_pair": lambda: F.draw_pair(given.x, generator=draw.generator),
        "argmax_one_hot": lambda: F.argmax_one_hot(given.x, given.x),
    }
    what = f"{name}({given.words}, {_shape_of(tau)})"
    return Case(what, calls[name], right and not given.bad, _leaves(given, tau), check)


def _weights(draw: Draw) -> Case:
    """Probabilities and counts."""
    name = draw.random.choice(("categorical", "perplexity"))
    given = draw.logits(spoiled=False)
    weights = given.x.detach().float().clamp(-20, 3).exp().to(given.x.dtype)
    bad = draw.chance(0.1) and weights.numel() > 0
    if bad:
        weights = weights.clone()
        weights[(0,) * weights.ndim] = draw.random.choice((-1.0, math.nan, math.inf))
    if not bad and name == "perplexity" and draw.chance(0.3):
        weights = (weights * 3).to(torch.int64)

    def check(result: Tensor) -> Iterator[str]:
        if name == "categorical":
            if result.dtype != torch.int64 or result.shape != weights.shape[:-1]:
                yield f"index {result.dtype}{tuple(result.shape)}"
            elif result.numel() and (weights.gather(-1, result.unsqueeze(-1)) == 0).any():
                yield "a category of weight 0 was drawn"
            return
        x = weights.double()
        p = x / x.sum(-1, keepdim=True)
        expected = torch.where(x.sum(-1) > 0, torch.special.entr(p).sum(-1).exp(), 0.0)
        yield from close(result, expected, "perplexity", 1e-5 + 8 * epsilon(result))

    positive = bool((weights.double().sum(-1) > 0).all()) or name == "perplexity"
    call = F.perplexity if name == "perplexity" else partial(F.categorical, generator=draw.generator)
    what = f"{name}({weights.dtype}{tuple(weights.shape)} {given.layout}{', bad' if bad else ''})"
    return Case(what, lambda: call(weights), not bad and positive, [], check)


# Subsets

_SUBSETS: dict[str, Callable[..., Any]] = {
    "gapped_subset": F.gapped_subset,
    "gumbel_rao_subset": partial(F.gumbel_rao_subset, samples=2),
    "reinmax_subset": F.reinmax_subset,
    "simple_subset": F.simple_subset,
    "straight_through_subset": F.straight_through_subset,
    "relaxed_top_k": F.relaxed_top_k,
    "relaxed_top_k hard": partial(F.relaxed_top_k, hard=True),
    "relaxed_top_k without noise": partial(F.relaxed_top_k, noise=False),
}
_PLAIN_SUBSETS: dict[str, Callable[..., Any]] = {
    "conditional_bernoulli": F.conditional_bernoulli,
    "subset_k_hot": F.subset_k_hot,
    "gumbel_top_k": F.gumbel_top_k,
    "top_k_hot": lambda x, k, generator: F.top_k_hot(x, x, k),
}


def _subset(draw: Draw) -> Case:
    name = draw.random.choice([*_SUBSETS, *_PLAIN_SUBSETS])
    given = draw.logits(least=draw.random.choice((1, 2)))
    k, fits = draw.k(given.x.shape[-1], given.few)
    takes_tau = name in _SUBSETS
    tau, right = draw.tau([*given.x.shape[:-1], 1]) if takes_tau else (1.0, True)
    call = partial(_SUBSETS[name], tau=tau) if takes_tau else _PLAIN_SUBSETS[name]
    hard = name not in ("relaxed_top_k", "relaxed_top_k without noise")

    def check(result: Tensor) -> Iterator[str]:
        x = given.x.detach()
        if name == "gumbel_top_k":
            if result.dtype != torch.int64 or result.shape != (*x.shape[:-1], k):
                yield f"{result.dtype}{tuple(result.shape)}"
            elif result.numel():
                if x.gather(-1, result).isneginf().any():
                    yield "a masked category was drawn"
                if (result.sort(-1).values.diff(dim=-1) == 0).any():
                    yield "a category was drawn twice"
            return
        yield from sample_faults(result, x, float(k), hard=hard, most=1.0 if hard else float(k))
        if (
            name == "relaxed_top_k without noise"
            and k < x.shape[-1]
            and x.numel()
            and 1e-2 < spread(x, tau) < 30
            and not x.isinf().any()
        ):
            divisor = tau.detach().double() if isinstance(tau, Tensor) else tau
            expected = subsets.relaxed_top_k(x, k, divisor)
            if expected.isfinite().all():
                yield from close(result, expected, name, 1e-3 + 8 * epsilon(result), 1e-4)

    return Case(
        f"{name}({given.words}, k={k}{', ' + _shape_of(tau) if takes_tau else ''})",
        lambda: call(given.x, k, generator=draw.generator),
        right and fits and not given.bad,
        _leaves(given, tau, max(1, k)),
        check,
    )


def _symmetric(draw: Draw) -> Case:
    name = draw.random.choice(("log_elementary_symmetric", "subset_marginals"))
    given = draw.logits()
    k, fits = draw.k(given.x.shape[-1], given.few)

    def check(result: Tensor) -> Iterator[str]:
        x = given.x.detach().double()
        size, wide = x.shape[-1], spread(x, 1.0)
        if name == "subset_marginals":
            yield from sample_faults(result, given.x, float(k))
        if size > 7 or not x.numel() or wide > 300:
            return
        every = subsets.subsets(size, k)
        held = x.masked_fill(x.isneginf(), -1e9)
        log_weights = held @ every.T
        expected = log_weights.logsumexp(-1)
        if name == "subset_marginals":
            expected = log_weights.softmax(-1) @ every
        eps = epsilon(result)
        yield from close(result, expected, name, 1e-4 + 4 * eps, 1e-5 * (1 + wide) + 4 * eps)

    call = getattr(F, name)
    return Case(
        f"{name}({given.words}, k={k})", lambda: call(given.x, k), fits and not given.bad, _leaves(given, 1.0), check
    )


# Bits


def _binary(draw: Draw) -> Case:
    name = draw.random.choice(("gumbel_sigmoid", "gumbel_sigmoid hard", "antithetic_bernoulli", "bernoulli"))
    given = draw.logits(rows=False)
    estimator = draw.random.choice([each for each in ALL if each.pathwise])
    takes_tau = name != "antithetic_bernoulli"
    tau, right = draw.tau(list(given.x.shape)) if takes_tau else (1.0, True)
    calls: dict[str, Callable[[], Tensor]] = {
        "gumbel_sigmoid": lambda: F.gumbel_sigmoid(given.x, tau, generator=draw.generator),
        "gumbel_sigmoid hard": lambda: F.gumbel_sigmoid(given.x, tau, hard=True, generator=draw.generator),
        "antithetic_bernoulli": lambda: F.antithetic_bernoulli(given.x, generator=draw.generator),
        "bernoulli": lambda: estimator.bernoulli(given.x, tau, draw.generator),
    }

    def check(sample: Tensor) -> Iterator[str]:
        x = given.x.detach()
        shape = (2, *x.shape) if name == "antithetic_bernoulli" else x.shape
        if sample.shape != shape or sample.dtype != x.dtype:
            yield f"{sample.dtype}{tuple(sample.shape)}"
            return
        values = sample.detach()
        if values.numel() and not ((values >= 0) & (values <= 1)).all():
            yield f"lies in {values.min()} to {values.max()}"
        if (values[x.isposinf().expand(shape)] != 1).any() or (values[x.isneginf().expand(shape)] != 0).any():
            yield "a sure bit is not as it must be"
        if name in ("gumbel_sigmoid hard", "antithetic_bernoulli") and not ((values == 0) | (values == 1)).all():
            yield "other entries than 0 and 1"

    who = repr(estimator) + ".bernoulli" if name == "bernoulli" else name
    what = f"{who}({given.words}{', ' + _shape_of(tau) if takes_tau else ''})"
    return Case(what, calls[name], right and not given.bad, _leaves(given, tau), check)


# Estimators


def _estimator(draw: Draw) -> Case:
    estimator = draw.random.choice([each for each in ALL if each.pathwise and each.categorical])
    subset = draw.chance(0.4)
    given = draw.logits(least=2 if subset else 1)
    k, fits = draw.k(given.x.shape[-1], given.few) if subset else (1, True)
    tau, right = draw.tau([*given.x.shape[:-1], 1])

    def run() -> Tensor:
        if subset:
            return estimator.subset(given.x, k, tau, draw.generator)
        return estimator(given.x, tau, draw.generator)

    return Case(
        f"{estimator}{f'.subset k={k}' if subset else ''}({given.words}, {_shape_of(tau)})",
        run,
        right and fits and not given.bad,
        _leaves(given, tau, max(1, k)),
        lambda sample: sample_faults(sample, given.x, float(k), hard=estimator.hard, most=1.0 if estimator.hard else k),
    )


def _expectation(draw: Draw) -> Case:
    estimator = draw.random.choice(ALL)
    kind = draw.random.choice(("categories", "subset", "binary") if estimator.categorical else ("binary",))
    given = draw.logits(rows=kind != "binary", least=2 if kind == "subset" else 1)
    k, fits = draw.k(given.x.shape[-1], given.few) if kind == "subset" else (None, True)
    tau, right = draw.tau()
    batched = given.x.ndim > (kind != "binary")
    options: dict[str, Any] = {"binary": True} if kind == "binary" else {"k": k} if kind == "subset" else {}

    def losses(sample: Tensor) -> Tensor:
        extra = sample.ndim - given.x.ndim
        return (
            sample.float().square().flatten(extra + 1).sum(-1)
            if batched and given.x.ndim > 1
            else sample.float().square()
        )

    def check(result: Tensor) -> Iterator[str]:
        if given.x.ndim > 1 and batched and result.shape != given.x.shape[:1]:
            yield f"losses of shape {tuple(result.shape)}"

    valid = (right and fits and not given.bad) if given.x.ndim > 1 and batched else None
    return Case(
        f"{estimator}.expectation({given.words}, {_shape_of(tau)}, {options})",
        lambda: estimator.expectation(losses, given.x, tau, draw.generator, **options),
        valid,
        _leaves(given, tau),
        check,
    )


def _frequencies(draw: Draw) -> Case:
    """How often each category comes up in 4000 draws: within 6.5 standard deviations, so that 10,000 cases hold a false
    alarm with a probability of less than 1e-5."""
    samplers: dict[str, Callable[[Tensor], Tensor]] = {
        "gumbel_softmax": lambda x: F.gumbel_softmax(x, 0.7, hard=True, generator=draw.generator),
        "categorical_one_hot": lambda x: F.categorical_one_hot(x, generator=draw.generator),
        "reinmax": lambda x: F.reinmax(x, generator=draw.generator),
        "gumbel_rao": lambda x: F.gumbel_rao(x, samples=1, generator=draw.generator),
        "gapped_straight_through": lambda x: F.gapped_straight_through(x, generator=draw.generator),
        "paired": lambda x: F.paired(x, generator=draw.generator),
        "categorical": lambda x: F.one_hot(F.categorical(x.softmax(-1), generator=draw.generator), x),
        "gumbel_max": lambda x: F.one_hot(F.gumbel_max(x, generator=draw.generator), x),
        "softmax_draw": lambda x: F.one_hot(F.softmax_draw(x, generator=draw.generator)[1], x),
    }
    name, count = draw.random.choice([*samplers]), 4000
    row = draw.normal(draw.random.randint(2, 6)).to(draw.random.choice((torch.float32, torch.float64)))
    if draw.chance(0.3):
        row[0] = -math.inf

    def check(sample: Tensor) -> Iterator[str]:
        p = row.double().softmax(-1)
        found = sample.double().mean(0)
        bound = 6.5 * (p * (1 - p) / count).sqrt() + 1 / count
        if ((found - p).abs() > bound).any() or (found[p == 0] > 0).any():
            yield f"frequencies {found.tolist()} instead of {p.tolist()}"

    return Case(
        f"frequencies of {name}({row.tolist()})", lambda: samplers[name](row.expand(count, -1)), True, [], check
    )


FUNCTIONS: list[tuple[Callable[[Draw], Case], float]] = [
    (_relaxed, 14),
    (_hard, 10),
    (_index, 8),
    (_weights, 4),
    (_subset, 14),
    (_symmetric, 4),
    (_binary, 10),
    (_estimator, 10),
    (_expectation, 8),
    (_frequencies, 2),
]
