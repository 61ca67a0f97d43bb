"""Cases of `fuzz` for layers, quantisers and metrics."""

import copy
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from benchmarks.reliability.fuzz_case import Case, close, tensors
from benchmarks.reliability.fuzz_inputs import Draw
from discrete_lightning import metrics
from discrete_lightning import nn as layers
from tests.tables import makers

_FREE = ("logits", "vectors")  # inputs of any number of rows
_BATCHES = ((0,), (1,), (2,), (7,), (3, 4), (2, 0), (1, 2, 3))


@cache
def _built(name: str) -> nn.Module:
    return makers.LAYERS[name].build()


def _layer(draw: Draw) -> Case:
    """A layer in training or evaluation: finite, of a dtype of its own, the same for every layout of its input."""
    name = draw.random.choice([*makers.LAYERS])
    layer = makers.LAYERS[name]
    with torch.random.fork_rng():
        module = copy.deepcopy(_built(name))
        arguments = layer.arguments(module, draw.random.getrandbits(30))
    free = layer.inputs.__name__ in _FREE and name in _ANY_ROWS
    shape = draw.random.choice(_BATCHES) if free and draw.chance(0.6) else None
    if shape is not None:
        arguments = tuple(draw.normal(*shape, each.shape[-1]).float() for each in arguments)
    scale = draw.random.choice((1.0, 1.0, 1e-3, 30.0))
    dtype = draw.random.choice((torch.float32, torch.float32, torch.bfloat16, torch.float64))
    if dtype != torch.float32:
        module = module.to(dtype)
    leaves = [(each * scale).to(dtype).requires_grad_() for each in arguments]
    given = [draw.laid_out(each) for each in leaves]
    bad = bool(given) and draw.chance(0.04) and given[0][0].numel() > 0
    if bad:
        spoiled = given[0][0].detach().clone()
        spoiled[(0,) * spoiled.ndim] = math.nan
        given[0] = (spoiled, "NaN")
    training, seed = draw.chance(0.7), draw.random.getrandbits(30)
    module.train(training)
    twin = copy.deepcopy(module)

    def run() -> Any:
        torch.manual_seed(seed)
        return module(*(each for each, _ in given))

    def check(result: Any) -> Iterator[str]:
        for each in tensors(result):
            if each.is_floating_point() and each.dtype not in (dtype, torch.float32):
                yield f"{each.dtype} of {dtype}"
        torch.manual_seed(seed)
        again = tensors(twin(*(each.detach().contiguous().requires_grad_() for each, _ in given)))
        for number, (one, other) in enumerate(zip(tensors(result), again, strict=True)):
            loose = 1e-4 if dtype != torch.bfloat16 else 0.1
            yield from close(one.double(), other.double(), f"result {number} of another layout", loose, loose)

    parameters = [(each, 1.0) for each in module.parameters() if each.requires_grad]
    words = (
        f"{name}({dtype} {[tuple(each.shape) for each, _ in given]} {[kind for _, kind in given]}, train={training})"
    )
    return Case(words, run, None if bad else True, [*((leaf, 1.0) for leaf in leaves), *parameters], check)


# layers of logits or vectors (..., D) of which any number of rows may come
_ANY_ROWS = {
    *makers.SAMPLING,
    *makers.QUANTIZERS,
    *(name for name in makers.OTHERS if name.startswith(("Relaxed", "TokenChoice"))),
}


def _codes(draw: Draw, most: int) -> Tensor:
    shape = draw.shape()
    dtype = draw.random.choice((torch.int64, torch.int64, torch.int32, torch.uint8, torch.int16))
    return torch.randint(most, shape, generator=draw.generator).to(dtype)


def _code_metric(draw: Draw) -> Case:
    """Counts over several updates, some of them empty, are those of all indices together."""
    name, size = draw.random.choice(("CodePerplexity", "CodeUsage", "LiveCodes")), draw.random.choice((1, 2, 4, 9))
    updates = [_codes(draw, size) for _ in range(draw.random.randint(0, 3))]
    masks = [draw.mask(list(each.shape)) if each.ndim else None for each in updates]
    wrong = draw.chance(0.1)
    if wrong:
        updates, masks = [*updates, torch.tensor([size])], [*masks, None]
    elif draw.chance(0.05):
        updates, masks, wrong = [*updates, torch.rand(3)], [*masks, None], True

    def run() -> Tensor:
        metric: Metric = getattr(metrics, name)(size)
        for each, mask in zip(updates, masks, strict=True):
            metric.update(each, mask)
        return _computed(metric)

    def check(result: Tensor) -> Iterator[str]:
        counts = torch.zeros(size, dtype=torch.float64)
        for each, mask in zip(updates, masks, strict=True):
            kept = each.long() if mask is None else each.long()[mask]
            counts += kept.flatten().bincount(minlength=size)
        p = counts / counts.sum().clamp_min(1)
        expected = {
            "CodePerplexity": torch.special.entr(p).sum().exp() if counts.any() else p.new_zeros(()),
            "CodeUsage": p.squeeze(),  # torchmetrics gives one number as 0-dim
            "LiveCodes": (counts > 0).sum().double(),
        }[name]
        yield from close(result, expected, name, 1e-5, 1e-6)

    words = f"{name}({size}) of {[(each.dtype, tuple(each.shape)) for each in updates]}"
    return Case(words, run, not wrong, [], check, backward=False)


def _computed(metric: Metric) -> Tensor:
    """torchmetrics warns where `compute` comes before any `update`: that is for users, and its value is what is tested."""
    if not metric.update_called:
        metric._update_count = 1
    result: Tensor = metric.compute()
    return result


def _other_metric(draw: Draw) -> Case:
    name = draw.random.choice(("RelaxationGap", "NatsPerCharacter", "NormalizedMutualInformation", "ShareInForm"))
    shape, dtype = draw.shape(), draw.dtype()
    if name == "RelaxationGap":
        one, other = draw.normal(*shape).to(dtype), draw.normal(*shape).to(dtype)
        mask = draw.mask(shape) if shape else None
        arguments: tuple[Any, ...] = (one, other, mask)
        gaps = other.double() - one.double()
        gaps = gaps.flatten() if mask is None else gaps[mask].flatten()
        expected = gaps.mean() if gaps.numel() else torch.zeros((), dtype=torch.float64)
    elif name == "NatsPerCharacter":
        nats = draw.normal(*shape).abs().to(dtype)
        characters = torch.randint(1, 9, shape, generator=draw.generator)
        arguments = (nats, characters)
        expected = nats.double().sum() / characters.sum().clamp_min(1)
    elif name == "ShareInForm":
        verdicts = torch.rand(shape, generator=draw.generator) < 0.5
        arguments = (verdicts,)
        expected = verdicts.double().mean() if verdicts.numel() else torch.zeros((), dtype=torch.float64)
    else:
        first = torch.randint(3, shape, generator=draw.generator)
        second = torch.randint(4, shape, generator=draw.generator)
        arguments = (first, second)
        pairs = torch.zeros(3, 4, dtype=torch.float64)
        for a, b in zip(first.flatten().tolist(), second.flatten().tolist(), strict=True):
            pairs[a, b] += 1
        p = pairs / pairs.sum().clamp_min(1)
        h1, h2, both = (torch.special.entr(each).sum() for each in (p.sum(1), p.sum(0), p))
        expected = 2 * (h1 + h2 - both) / (h1 + h2) if h1 + h2 > 1e-12 else torch.zeros((), dtype=torch.float64)
    sizes = {"NormalizedMutualInformation": (3, 4)}.get(name, ())

    def run() -> Tensor:
        metric: Metric = getattr(metrics, name)(*sizes)
        metric.update(*arguments)
        return _computed(metric)

    words = f"{name}({dtype}{tuple(shape)})"
    return Case(words, run, True, [], lambda result: close(result, expected, name, 2e-4, 2e-5), backward=False)


def _scheduled(draw: Draw) -> Case:
    """Temperatures hold what they are given, within their bounds."""
    init, minimum = draw.random.choice((1e-3, 0.5, 1.0, 1e4, 0.0, -1.0, math.nan)), draw.random.choice((1e-3, 0.1))
    learnable = draw.chance(0.5)

    def check(result: Tensor) -> Iterator[str]:
        yield from close(result, torch.tensor(init), "temperature", 1e-5)

    right = init >= minimum and math.isfinite(init) if not learnable else init > minimum
    valid = None if init == minimum else right
    run: Callable[[], Any] = lambda: layers.Temperature(init, minimum, learnable)()  # noqa: E731
    return Case(f"Temperature({init}, {minimum}, {learnable})", run, valid, [], check)


MODULES: list[tuple[Callable[[Draw], Case], float]] = [
    (_layer, 14),
    (_code_metric, 5),
    (_other_metric, 5),
    (_scheduled, 1),
]
