"""Computing in float32 whatever the dtype of the input, and under autocast. For state see layers/float32.py."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def float32(x: Tensor) -> Tensor:
    """`x` in float32 if its dtype is narrower, else unchanged (float64 stays float64, for exact references)."""
    return x if x.dtype == torch.float64 else x.float()


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Runs `function` with autocast off: under `bf16-mixed` a float32 matrix product would otherwise be rounded to bf16.

    Measured on the CPU: 0.8 % of nearest codes change when distances are computed under bf16 autocast.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling() or not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")):
            return function(*args, **kwargs)
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wrapped


def float32_matmul(function: Callable[P, R]) -> Callable[P, R]:
    """Runs `function` with matrix products of full float32 precision, whatever `torch.set_float32_matmul_precision` says.

    TF32 keeps 10 bits of the factors, bf16 7: 0.035 % of nearest codes then change. The setting is that of the process, and is
    put back. A compiled graph cannot change it: see `addmm_float32`.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling() or not _matmul_is_reduced():
            return function(*args, **kwargs)
        before = [backend.fp32_precision for backend in _matmul_backends()]
        legacy = None if before else torch.get_float32_matmul_precision()
        try:
            for backend in _matmul_backends():
                backend.fp32_precision = "ieee"
            if legacy:
                torch.set_float32_matmul_precision("highest")
            return function(*args, **kwargs)
        finally:
            for backend, precision in zip(_matmul_backends(), before, strict=True):
                backend.fp32_precision = precision
            if legacy:
                torch.set_float32_matmul_precision(legacy)

    return wrapped


def addmm_float32(bias: Tensor, x: Tensor, y: Tensor, alpha: float = 1.0) -> Tensor:
    """`bias + alpha * x @ y` in float32, in compiled graphs, too. Call it within `float32_matmul`; no gradient.

    Where a compiled graph would round the factors, each is split into three parts of 8 bits, which neither TF32 nor bf16 rounds
    (Ootomo and Yokota 2022, https://arxiv.org/abs/2203.03341, with bf16 parts).
    """
    if torch.compiler.is_compiling() and x.dtype == torch.float32 and _reduced_while_tracing():
        high, middle, low = _parts_of_8_bits(x)
        x = torch.cat([high, high, middle, high, low, middle], -1)
        high, middle, low = _parts_of_8_bits(y)
        y = torch.cat([high, middle, high, low, high, middle], -2)
    return torch.addmm(bias, x, y, alpha=alpha)


def _parts_of_8_bits(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    high = _first_8_bits(x)
    middle = _first_8_bits(x - high)
    return high, middle, x - high - middle


def _first_8_bits(x: Tensor) -> Tensor:
    # not x.bfloat16().float(), which inductor leaves out
    return (x.contiguous().view(torch.int32) & -65536).view(torch.float32)


def _matmul_backends() -> list[Any]:
    """The settings of the backends that may round the factors of a product; none before torch 2.9, which has one setting."""
    backends = (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None))
    return [each for each in backends if hasattr(each, "fp32_precision")]


def _matmul_is_reduced() -> bool:
    if not (backends := _matmul_backends()):
        return torch.get_float32_matmul_precision() != "highest"
    return any(each.fp32_precision not in ("none", "ieee") for each in (torch.backends, *backends))


@torch.compiler.assume_constant_result
def _reduced_while_tracing() -> bool:
    return _matmul_is_reduced()
