"""Cases of `fuzz` for what takes no rows of logits: noise, indices, vectors and codes, pairs, routers and lines of text."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.reliability.fuzz_case import Case, close, sample_faults
from benchmarks.reliability.fuzz_inputs import Draw
from discrete_lightning import functional as F
from discrete_lightning import losses, metrics


def _noise(draw: Draw) -> Case:
    name, shape = draw.random.choice(("gumbel_noise", "exponential_noise", "logistic_noise")), torch.Size(draw.shape())
    options: dict[str, Any] = {"dtype": draw.dtype()} if name == "gumbel_noise" else {}

    def check(noise: Tensor) -> Iterator[str]:
        if noise.shape != shape or noise.dtype != options.get("dtype", torch.float32):
            yield f"{noise.dtype}{tuple(noise.shape)}"
        if name == "exponential_noise" and (noise <= 0).any():
            yield "not positive"

    run = partial(getattr(F, name), shape, generator=draw.generator, **options)
    return Case(f"{name}({tuple(shape)}, {options})", run, True, [], check)


def _indices(draw: Draw) -> Case:
    """Indices as one-hot vectors, and values with another path of the gradient."""
    name = draw.random.choice(("one_hot", "straight_through_one_hot", "straight_through"))
    given = draw.logits(spoiled=False)
    path = given.x
    if name == "straight_through":
        value = draw.normal(*path.shape).to(path.dtype)
        wrong = draw.chance(0.1) and path.ndim > 0
        other = value.unsqueeze(0).expand(2, *value.shape) if wrong else value

        def same(result: Tensor) -> Iterator[str]:
            if not torch.equal(result, value):
                yield "not the value, bit for bit"

        leaves = [(given.leaf, 1.0)] if given.leaf.requires_grad else []
        return Case(f"{name}({given.words})", lambda: F.straight_through(other, path), not wrong, leaves, same)
    index = torch.randint(path.shape[-1], path.shape[:-1], generator=draw.generator)
    if name == "one_hot":
        run: Callable[[], Tensor] = lambda: F.one_hot(index, path)  # noqa: E731
    else:
        valid = torch.zeros(path.shape[:-1])
        run = lambda: F.straight_through_one_hot(index, path, valid)  # noqa: E731

    def check(result: Tensor) -> Iterator[str]:
        yield from sample_faults(result, torch.zeros(path.shape, dtype=path.dtype), 1.0, hard=True)
        if result.numel() and not torch.equal(result.argmax(-1), index):
            yield "another index"

    return Case(f"{name}({given.words})", run, True, [], check)


def _conditional(draw: Draw) -> Case:
    """Noise given the choice: the choice is the largest."""
    rows, size, k = draw.random.choice((0, 1, 3)), draw.random.randint(2, 8), 1
    log_p = (draw.normal(rows, size) * draw.random.choice((1.0, 10.0))).log_softmax(-1).float()
    if draw.chance(0.5):
        index = torch.randint(size, (rows,), generator=draw.generator)
        run: Callable[[], Tensor] = lambda: F.conditional_gumbel(  # noqa: E731
            log_p.exp(), index, samples=3, generator=draw.generator
        )
        order = index.unsqueeze(-1).expand(3, rows, 1)
    else:
        k = draw.random.randint(1, size - 1)
        order = draw.normal(rows, size).argsort(-1)[..., :k]
        run = lambda: F.conditional_gumbel_top_k(log_p, order, generator=draw.generator)  # noqa: E731

    def check(result: Tensor) -> Iterator[str]:
        if result.numel() and not torch.equal(result.topk(k, -1).indices, order):
            yield "the largest are others"

    impossible = bool((log_p.exp() == 0).any())
    return Case(
        f"conditional_gumbel k={k} ({rows}, {size})", run, None if impossible else True, [], check, infinite=True
    )


def _lookup(draw: Draw) -> Case:
    name = draw.random.choice(("gumbel_lookup", "largest_logit"))
    shape, dim, size, width = draw.shape(2), draw.random.randint(1, 4), draw.random.choice((1, 2, 5, 70)), 3
    leaf = draw.normal(*shape, dim).to(draw.dtype()).requires_grad_()
    x, layout = draw.laid_out(leaf)
    weight, bias, codes = (
        draw.normal(*each).float().requires_grad_() for each in ((size, dim), (size,), (size, width))
    )
    bad = draw.chance(0.05) and x.numel() > 0 and name == "gumbel_lookup"
    vectors = x / 0 if bad else x
    options = {each: draw.chance(0.5) for each in ("hard", "statistics", "tempered", "held", "keep")}

    def check(result: Any) -> Iterator[str]:
        if name == "largest_logit":
            logits = x.detach().double() @ weight.detach().double().T + bias.detach().double()
            if result.shape != logits.shape[:-1]:
                yield f"shape {tuple(result.shape)}"
            elif result.numel():
                found = logits.gather(-1, result.unsqueeze(-1))[..., 0]
                yield from close(found, logits.amax(-1), "largest logit", 1e-4, 1e-4)
            return
        if result.quantized.shape != (*x.shape[:-1], width) or result.indices.shape != x.shape[:-1]:
            yield f"shapes {tuple(result.quantized.shape)}, {tuple(result.indices.shape)}"
        elif options["hard"] and result.indices.numel():
            yield from close(result.quantized.detach(), codes.detach()[result.indices], "codes", 1e-2, 1e-2)

    if name == "largest_logit":
        run: Callable[[], Any] = lambda: F.largest_logit(x, weight, bias)  # noqa: E731
    else:
        run = partial(F.gumbel_lookup, vectors, weight, bias, codes, 0.7, generator=draw.generator, **options)
    leaves = [(each, 1.0) for each in (leaf, weight, bias, codes)]
    return Case(f"{name}({leaf.dtype}{tuple(x.shape)} {layout}, K={size}, {options})", run, not bad, leaves, check)


def _pairs(draw: Draw) -> Case:
    name, shape = (
        draw.random.choice(("disarm", "pair_slope")),
        [draw.random.choice((0, 1, 4)), draw.random.randint(2, 5)],
    )
    leaf = draw.normal(*shape).to(draw.dtype()).requires_grad_()
    if name == "pair_slope":
        pair = F.draw_pair(leaf, generator=draw.generator)

        def zero(result: Tensor) -> Iterator[str]:
            if result.shape != leaf.shape[:-1] or result.any():
                yield "not a zero for each pair"

        return Case(f"{name}({leaf.dtype}{tuple(shape)})", lambda: F.pair_slope(leaf, pair), True, [(leaf, 1.0)], zero)
    both = F.antithetic_bernoulli(leaf, generator=draw.generator)
    values = both.float().sum(-1)

    def check(result: Tensor) -> Iterator[str]:
        yield from close(result, values.double().mean(0), "mean of the pair", 1e-5 + 8 * torch.finfo(result.dtype).eps)

    run = partial(F.disarm, values, both, leaf)
    return Case(f"{name}({leaf.dtype}{tuple(shape)})", run, True, [(leaf, 1.0)], check)


def _balance(draw: Draw) -> Case:
    tokens, experts = draw.random.choice((0, 1, 5, 12)), draw.random.randint(2, 6)
    k = draw.random.randint(1, experts)
    leaf = draw.normal(tokens, experts).softmax(-1).float().requires_grad_()
    indices = leaf.detach().topk(k, -1).indices
    mask = draw.mask([tokens])

    def check(result: Tensor) -> Iterator[str]:
        kept = torch.ones(tokens, dtype=torch.bool) if mask is None else mask
        p, chosen = leaf.detach().double()[kept], indices[kept].flatten()
        if not len(p):
            yield from close(result, result.new_zeros(()), "balance of nothing", 0.0)
            return
        share = chosen.bincount(minlength=experts).double() / len(chosen)
        yield from close(result, experts * (share * p.mean(0)).sum(), "balance", 1e-4, 1e-5)

    words = f"balance_loss({tokens}, {experts}, k={k}, mask={mask is not None})"
    return Case(words, lambda: losses.balance_loss(leaf, indices, mask), True, [(leaf, 1e3)], check)


_WORDS = ("to", "be", "or", "not", "a", "king")


def _lines(draw: Draw) -> Case:
    name = draw.random.choice(("DistinctN", "DistinctLines", "SelfBLEU"))
    lines = [
        " ".join(draw.random.choices(_WORDS, k=draw.random.randint(0, 6))) for _ in range(draw.random.randint(0, 5))
    ]

    def run() -> Tensor:
        metric: Any = getattr(metrics, name)()
        metric.update(lines)
        result: Tensor = metric.compute()
        return result

    def check(result: Tensor) -> Iterator[str]:
        if not 0 <= float(result) <= 1 + 1e-6:
            yield f"{float(result)} is no share"

    return Case(f"{name}({lines})", run, name != "SelfBLEU" or len(lines) > 1, [], check, backward=False)


REST: list[tuple[Callable[[Draw], Case], float]] = [
    (_noise, 2),
    (_indices, 3),
    (_conditional, 2),
    (_lookup, 4),
    (_pairs, 2),
    (_balance, 2),
    (_lines, 1),
]
