"""Cases of `fuzz` for entropies, divergences, probabilities and losses, each beside its formula in float64."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.reliability.fuzz_case import Case, close, epsilon, gradient_size, spread
from benchmarks.reliability.fuzz_inputs import Draw, Logits
from discrete_lightning import functional as F
from discrete_lightning import losses
from tests.references import subsets
from tests.references.advantages import naive_advantages, naive_ppo_terms, naive_value_terms

_HIGH = 1e6


def _leaf(given: Logits) -> list[tuple[Tensor, float]]:
    return [(given.leaf, gradient_size(given.x, 1.0, 1))] if given.leaf.requires_grad else []


def _p(x: Tensor, dim: int = -1) -> Tensor:
    return x.detach().double().softmax(dim)


def _counted(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of the values that count, 0 if none does."""
    if mask is not None:
        values = values[mask.view(*mask.shape, *[1] * (values.ndim - mask.ndim)).expand(values.shape)]
    return values.mean() if values.numel() else values.new_zeros(())


def _reference(name: str, expected: Callable[[], Tensor], loose: float = 1.0) -> Callable[[Tensor], Iterator[str]]:
    def check(result: Tensor) -> Iterator[str]:
        eps = epsilon(result)
        yield from close(result, expected(), name, loose * (1e-5 + 8 * eps), loose * (2e-6 + eps))

    return check


def _rows(draw: Draw) -> Case:
    """One number a row."""
    name = draw.random.choice(("entropy", "kl_to_uniform", "kl_divergence"))
    dim = draw.random.choice((-1, -1, 0))
    given = draw.logits(dim=dim)
    size = given.x.shape[dim]
    if name == "kl_divergence":
        prior = draw.normal(size).to(given.x.dtype if given.x.is_floating_point() else torch.float32)
        prior_rows = prior.view(*([1] * (given.x.ndim - 1 - (dim % given.x.ndim))), size) if dim == -1 else prior
        if dim == 0:
            prior_rows = prior.view(size, *[1] * (given.x.ndim - 1))
        run: Callable[[], Tensor] = lambda: F.kl_divergence(given.x, prior_rows, dim)  # noqa: E731
    else:
        run = partial(getattr(F, name), given.x, dim)

    def expected() -> Tensor:
        p = _p(given.x, dim)
        h = torch.special.entr(p).sum(dim)
        if name == "kl_divergence":
            return -h - (p * _log(prior_rows, dim)).sum(dim)
        return h if name == "entropy" else math.log(size) - h

    wide = spread(given.x, 1.0)
    check = _reference(name, expected, 1 + wide) if wide < _HIGH else lambda _: iter(())
    return Case(f"{name}({given.words}, dim={dim})", run, not given.bad, _leaf(given), check)


def _log(x: Tensor, dim: int) -> Tensor:
    return x.detach().double().log_softmax(dim)


def _bits(draw: Draw) -> Case:
    name = draw.random.choice(("binary_entropy", "binary_kl_to_uniform"))
    given = draw.logits(rows=False)

    def expected() -> Tensor:
        p = given.x.detach().double().sigmoid()
        h = torch.special.entr(p) + torch.special.entr(given.x.detach().double().neg().sigmoid())
        return h if name == "binary_entropy" else math.log(2) - h

    return Case(
        f"{name}({given.words})",
        lambda: getattr(F, name)(given.x),
        not given.bad,
        _leaf(given),
        _reference(name, expected),
    )


def _masked(draw: Draw) -> Case:
    """Means over the positions that count."""
    name = draw.random.choice(
        ("choice_entropy", "marginal_entropy", "code_diversity", "z_loss", "marginal_distribution")
    )
    given = draw.logits()
    shape = list(given.x.shape[:-1])
    separate = 0
    if name not in ("choice_entropy", "z_loss") and shape and draw.chance(0.3):
        separate = draw.random.randint(1, len(shape) + draw.chance(0.1))
    tokens = shape[: max(0, len(shape) - separate)]
    mask = draw.mask(tokens) if tokens else None
    options: dict[str, Any] = {"mask": mask} | ({"separate": separate} if separate else {})

    def expected() -> Tensor:
        x = given.x.detach().double()
        p = x.softmax(-1)
        if name == "choice_entropy":
            return _counted(torch.special.entr(p).sum(-1), mask)
        if name == "z_loss":
            return _counted(x.logsumexp(-1).square(), mask)
        kept = torch.ones(tokens) if mask is None else mask.double().view(*mask.shape, *[1] * (len(tokens) - mask.ndim))
        weights = kept.expand(tokens).reshape(-1).double()
        rows = (
            p.reshape(len(weights), *given.x.shape[len(tokens) :])
            if p.numel()
            else p.new_zeros((len(weights), *given.x.shape[len(tokens) :]))
        )
        mean = torch.einsum("n,n...->...", weights, rows) / weights.sum().clamp_min(1)
        if name == "marginal_distribution":
            return mean
        if not mean.numel():
            return mean.new_zeros(())
        h = torch.special.entr(mean).sum(-1)
        if name == "marginal_entropy":
            return h.mean()
        return torch.where(mean.sum(-1) > 0, 1 - h.exp() / given.x.shape[-1], 0.0).mean()

    wide = spread(given.x, 1.0)
    held = given.x.detach().double()
    held = held[held.isfinite()]
    large = float(held.abs().max()) if held.numel() else 0.0
    huge = name == "z_loss" and large > 1e3
    check = _reference(name, expected, 1 + wide + large) if wide < _HIGH and not huge else lambda _: iter(())
    wrong = separate > len(shape)
    empty = separate and not math.prod(shape)  # a mean over no codebook
    valid = False if wrong else None if empty or (mask is not None and given.bad) else not given.bad
    words = f"{name}({given.words}, mask={None if mask is None else tuple(mask.shape)}, separate={separate})"
    leaves = [(leaf, size * (1 + large)) for leaf, size in _leaf(given)]
    return Case(words, lambda: getattr(losses, name)(given.x, **options), valid, leaves, check)


def _terms(draw: Draw) -> Case:
    """Loss terms with weights."""
    choice, marginal = draw.random.choice((0.0, 0.3)), draw.random.choice((0.0, 0.7))
    name = draw.random.choice(("EntropyBonus", "CodeDiversity", "KLToPrior"))
    given = draw.logits()
    tau, right = draw.tau([1]) if name == "EntropyBonus" else (1.0, True)
    if isinstance(tau, Tensor) and tau.ndim:
        tau, right = 1.0, True
    if name == "EntropyBonus":
        layer = losses.EntropyBonus(choice, marginal)
        run: Callable[[], Tensor] = lambda: layer(given.x, tau)  # noqa: E731
    else:
        run = partial(getattr(losses, name)(), given.x)

    def check(result: Tensor) -> Iterator[str]:
        if result.dtype not in (torch.float32, torch.float64) or (name != "KLToPrior" and result.ndim):
            yield f"{result.dtype}{tuple(result.shape)}"
        if name != "EntropyBonus" and not (result >= -1e-6).all():
            yield f"negative: {result}"

    leaves = [(given.leaf, gradient_size(given.x, tau, 1))] if given.leaf.requires_grad else []
    if isinstance(tau, Tensor) and tau.requires_grad:
        leaves.append((tau, gradient_size(given.x, tau, 2)))
    off = name == "EntropyBonus" and not choice and not marginal  # terms of weight 0 are not computed
    valid = (
        None
        if (off and (given.bad or not right)) or (name == "KLToPrior" and given.x.ndim < 2)
        else right and not given.bad
    )
    return Case(f"{name}[{choice}, {marginal}]({given.words}, {tau!r})", run, valid, leaves, check)


def _kl(draw: Draw) -> Case:
    binary = draw.chance(0.4)
    given = draw.logits(rows=not binary)
    shape = list(given.x.shape) if binary else list(given.x.shape[:-1])
    mask = draw.mask(shape) if shape else None

    def expected() -> Tensor:
        x = given.x.detach().double()
        h = torch.special.entr(x.sigmoid()) + torch.special.entr((-x).sigmoid())
        kl = math.log(2) - h if binary else math.log(x.shape[-1]) - torch.special.entr(x.softmax(-1)).sum(-1)
        if mask is not None:
            kl = kl * mask.double().view(*mask.shape, *[1] * (kl.ndim - mask.ndim))
        return kl.flatten(1).sum(-1) if kl.ndim > 1 else kl

    valid = None if not shape or (mask is not None and given.bad) else not given.bad
    wide = spread(given.x, 1.0)
    check = _reference("kl_to_prior", expected, 1 + wide + math.prod(shape)) if wide < _HIGH else lambda _: iter(())
    words = f"kl_to_prior({given.words}, binary={binary}, mask={None if mask is None else tuple(mask.shape)})"
    return Case(words, lambda: losses.kl_to_prior(given.x, binary=binary, mask=mask), valid, _leaf(given), check)


def _truncate(draw: Draw) -> Case:
    given = draw.logits()
    tau, right = draw.tau([*given.x.shape[:-1], 1])
    size = given.x.shape[-1]
    options: dict[str, Any] = {}
    if draw.chance(0.5):
        options["top_k"] = draw.random.choice(
            (1, 2, size, 0, size + 1) if draw.chance(0.1) else (1, max(1, size // 2), size)
        )
    for name in ("top_p", "min_p"):
        if draw.chance(0.4):
            options[name] = draw.random.choice((0.0, 0.3, 0.9, 1.0, 0.5)) if not draw.chance(0.05) else 1.5
    fits = 1 <= options.get("top_k", 1) <= size and all(options.get(name, 0.0) <= 1 for name in ("top_p", "min_p"))

    def check(result: Tensor) -> Iterator[str]:
        x = given.x.detach()
        if result.shape != x.shape or result.dtype != x.dtype:
            yield f"{result.dtype}{tuple(result.shape)}"
            return
        if not x.numel():
            return
        kept = ~result.detach().isneginf()
        if not kept.any(-1).all() or (kept & x.isneginf()).any():
            yield "keeps nothing, or a masked category"
        if not kept.gather(-1, x.double().argmax(-1, keepdim=True)).all():
            yield "the most likely category is gone"
        if "top_k" in options and (kept.sum(-1) > options["top_k"]).any():
            yield "more than top_k"
        if isinstance(tau, float) and tau == 1.0 and not torch.equal(result.detach()[kept], x[kept]):
            yield "what stays is changed"

    leaves = [(given.leaf, gradient_size(given.x, tau, 1))] if given.leaf.requires_grad else []
    if isinstance(tau, Tensor) and tau.requires_grad:
        leaves.append((tau, gradient_size(given.x, tau, 2)))
    words = f"truncate_logits({given.words}, {tau!r}, {options})"
    run = partial(F.truncate_logits, given.x, tau, **options)
    return Case(words, run, right and fits and not given.bad, leaves, check, infinite=True)


def _log_probability(draw: Draw) -> Case:
    kind = draw.random.choice(("one-hot", "binary", "plackett_luce", "conditional_bernoulli"))
    given = draw.logits(rows=kind != "binary", least=2)
    x, size = given.x, given.x.shape[-1] if given.x.ndim else 0
    many = (draw.random.randint(0, 3),) if draw.chance(0.3) else ()
    options: dict[str, Any] = {}
    fits = True
    if kind == "binary":
        sample = (torch.rand((*many, *x.shape), generator=draw.generator) < 0.5).to(
            x.dtype if x.is_floating_point() else torch.float32
        )
        options["binary"] = True
    else:
        k = 1 if kind == "one-hot" else draw.random.randint(1, max(1, min(size, 5)))
        order = torch.rand((*many, *x.shape), generator=draw.generator).argsort(-1)
        sample = (order < k).to(torch.float32)
        options = {} if kind == "one-hot" else {"k": k, "subsets": kind}
        fits = given.few >= k

    def check(result: Tensor) -> Iterator[str]:
        shape = sample.shape if kind == "binary" else sample.shape[:-1]
        if result.shape != shape:
            yield f"shape {tuple(result.shape)}"
            return
        if (result > 1e-3 + 8 * epsilon(result)).any():
            yield f"above 0: {result.max()}"
        wide = spread(x, 1.0)
        values = x.detach().double()
        if not result.numel() or wide > 50:
            return
        if kind == "binary":
            sign = 2 * sample.double() - 1
            yield from close(
                result, torch.nn.functional.logsigmoid(sign * values), kind, 1e-5 + 8 * epsilon(result), 1e-6
            )
        elif kind == "one-hot":
            chosen = values.expand(sample.shape).gather(-1, sample.argmax(-1, keepdim=True))[..., 0]
            expected = chosen - values.logsumexp(-1)
            yield from close(result, expected, kind, 1e-5 + 8 * epsilon(result), 1e-5)
        elif size <= 6 and not values.isinf().any() and values.ndim <= 2:
            rows = values.expand(sample.shape).reshape(-1, size)[:3]
            for row, one, found in zip(rows, sample.reshape(-1, size), result.detach().flatten(), strict=False):
                expected = subsets.LOG_PROBABILITY[kind](row, one.double().unsqueeze(0))[0]
                yield from close(found, expected, kind, 1e-4 + 8 * epsilon(result), 1e-4)

    words = f"log_probability {kind}({given.words}, {options}, {tuple(sample.shape)})"
    run = partial(F.log_probability, x, sample, **options)
    return Case(words, run, fits and not given.bad, _leaf(given), check, infinite=True)


# Losses of samples, of vectors and of actions


def _floating(draw: Draw, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    x = draw.normal(*shape).to(draw.dtype() if dtype is None else dtype)
    return draw.laid_out(x)[0]


def _samples(draw: Draw) -> Case:
    name = draw.random.choice(("leave_one_out", "policy_gradient", "kl_to_reference"))
    shape = [draw.random.choice((1, 2, 3, 4)), *draw.shape(2)]
    dtype = draw.random.choice((torch.float32, torch.float64))
    values = _floating(draw, *shape, dtype=dtype)
    leaf = (-_floating(draw, *shape, dtype=dtype).abs()).detach().requires_grad_()
    other = draw.chance(0.1)
    bad = values.to(torch.int64) if other else values
    if name == "kl_to_reference":
        kind = draw.random.choice(("k1", "k2", "k3"))
        formulas: dict[str, Callable[[Tensor], Tensor]] = {
            "k1": lambda d: -d,
            "k2": lambda d: d.square() / 2,
            "k3": lambda d: d.exp() - 1 - d,
        }
        check = _reference(name, lambda: formulas[kind](values.double() - leaf.detach().double()), 10)
        return Case(
            f"{name}(kind={kind}, {dtype}{tuple(shape)})",
            lambda: F.kl_to_reference(leaf, bad, kind),  # type: ignore[arg-type]
            not other,
            [(leaf, 1e3)],
            check,
        )
    few = shape[0] < 2
    if name == "leave_one_out":
        check = _reference(name, lambda: values.double().mean(0))
        return Case(
            f"{name}({bad.dtype}{tuple(shape)})",
            lambda: F.leave_one_out(bad, leaf),
            not other and not few,
            [(leaf, 1e3)],
            check,
        )
    mask = draw.mask(shape[1:]) if shape[1:] else None

    def expected() -> Tensor:
        kept = values.double() if mask is None else values.double().movedim(0, -1)[mask]
        return -kept.mean() if kept.numel() else kept.new_zeros(())

    return Case(
        f"{name}({bad.dtype}{tuple(shape)}, mask={None if mask is None else tuple(mask.shape)})",
        lambda: F.policy_gradient(bad, leaf, mask=mask),
        not other and not few,
        [(leaf, 1e3)],
        _reference(name, expected),
    )


def _vectors(draw: Draw) -> Case:
    shape = [*draw.shape(2), draw.random.randint(1, 5)]
    dtype = draw.dtype()
    leaf = draw.normal(*shape).to(dtype).requires_grad_()
    x, layout = draw.laid_out(leaf)
    codes = _floating(draw, *shape, dtype=dtype)
    mask = draw.mask(shape[:-1]) if shape[:-1] else None
    wrong = draw.chance(0.1)
    other = codes[..., :-1] if wrong else codes

    def expected() -> Tensor:
        return _counted((x.detach().double() - codes.double()).square(), mask)

    return Case(
        f"commitment_loss({dtype}{tuple(shape)} {layout}, mask={None if mask is None else tuple(mask.shape)})",
        lambda: losses.commitment_loss(x, other, mask),
        not wrong,
        [(leaf, 1e3)],
        _reference("commitment_loss", expected),
    )


def _actions(draw: Draw) -> Case:
    name = draw.random.choice(("ppo_clip", "clipped_value_loss"))
    shape, dtype = [draw.random.choice((0, 1, 5, 8))], draw.random.choice((torch.float32, torch.float64))
    first = draw.normal(*shape).to(dtype).requires_grad_()
    old, third = _floating(draw, *shape, dtype=dtype), _floating(draw, *shape, dtype=dtype)
    mask = torch.rand(shape, generator=draw.generator) < 0.7 if draw.chance(0.4) else None
    clip = -0.1 if draw.chance(0.05) else draw.random.choice((0.0, 0.2, 1.0))
    kept = torch.ones(*shape, dtype=torch.bool) if mask is None else mask

    def check(result: Tensor) -> Iterator[str]:
        rows = [each.detach().double()[kept].tolist() for each in (first, old, third)]
        if name == "ppo_clip":
            terms, slopes = naive_ppo_terms([math.exp(a - b) for a, b in zip(*rows[:2], strict=True)], rows[2], clip)
        else:
            terms, slopes = naive_value_terms(rows[0], rows[1], rows[2], clip)
        total = torch.tensor(terms, dtype=torch.float64).sum() / max(1, len(terms))
        yield from close(result, total, name, 1e-4, 1e-5)
        (gradient,) = torch.autograd.grad(result, first, retain_graph=True)
        expected = torch.zeros(*shape, dtype=torch.float64)
        expected[kept] = torch.tensor(slopes, dtype=torch.float64) / max(1, len(slopes))
        if clip:  # at clip = 0 every row stands on the corner
            yield from close(gradient, expected, f"gradient of {name}", 1e-4, 1e-5)

    return Case(
        f"{name}({dtype}{tuple(shape)}, clip={clip}, mask={mask is not None})",
        lambda: getattr(losses, name)(first, old, third, clip, mask=mask),
        clip >= 0,
        [(first, 1e3)],
        check,
    )


def _advantage(draw: Draw) -> Case:
    shape = [draw.random.choice((0, 1, 2, 7, 13)), draw.random.choice((1, 3))]
    dtype = draw.random.choice((torch.float32, torch.float64))
    rewards, values, after = (_floating(draw, *shape, dtype=dtype) for _ in range(3))
    ends, cut, counted = (torch.rand(shape, generator=draw.generator) < p for p in (0.2, 0.2, 0.9))
    cut = cut & ~ends
    gamma, lambda_ = draw.random.choice((0.0, 0.9, 0.99, 1.0)), draw.random.choice((0.0, 0.95, 1.0, 1.5))

    def check(result: Any) -> Iterator[str]:
        if not shape[0]:
            return
        expected, targets = naive_advantages(rewards, values, after, ends, cut, counted, gamma, lambda_)
        found = torch.where(counted, result.advantages, 0.0)
        yield from close(found, torch.tensor(expected, dtype=torch.float64), "advantages", 1e-4, 1e-4)
        found = torch.where(counted, result.targets, 0.0)
        yield from close(found, torch.tensor(targets, dtype=torch.float64), "targets", 1e-4, 1e-4)

    return Case(
        f"generalized_advantage({dtype}{tuple(shape)}, gamma={gamma}, lambda={lambda_})",
        lambda: losses.generalized_advantage(rewards, values, after, ends, cut, gamma, lambda_, counted),
        lambda_ <= 1,
        [],
        check,
    )


LOSSES: list[tuple[Callable[[Draw], Case], float]] = [
    (_rows, 7),
    (_bits, 3),
    (_masked, 8),
    (_terms, 4),
    (_kl, 4),
    (_truncate, 6),
    (_log_probability, 8),
    (_samples, 4),
    (_vectors, 2),
    (_actions, 3),
    (_advantage, 2),
]
