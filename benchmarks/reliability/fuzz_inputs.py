"""Tensors, temperatures and masks of every kind, valid and not, drawn with a seed: what `fuzz` calls everything with."""

import math
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FLOATING = (torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16)
NOT_FLOATING = (torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64)
_SIZES = (0, 1, 1, 2, 3, 5)
_CATEGORIES = (1, 2, 2, 3, 4, 5, 7, 16, 33)
_SCALES = (0.0, 1e-3, 1.0, 1.0, 1.0, 10.0, 100.0, 1e4)
_TAUS = (1.0, 1.0, 0.5, 2.0, 0.1, 1e-3, 1e3, 1e-6, 1e-20, 1e-30, 1e-38, 1e20, 1e38)
_BAD_TAUS = (0.0, -1.0, math.nan, math.inf, 1e-300, 1e39, "1", None, True + 1j)
_LOWEST_TAU, _HIGHEST_TAU = 2.0**-127, torch.finfo(torch.float32).max


@dataclass
class Logits:
    """Logits, and what is wrong with them.

    Attributes:
        leaf: what gets the gradient; of the same values, contiguous.
        x: as it is given, in some layout.
        bad: whether any row has no distribution, or the tensor is not one of logits.
        few: the smallest number of categories of a row that are not masked.
        layout: how it lies in memory.
    """

    leaf: Tensor
    x: Tensor
    bad: bool
    few: int
    layout: str

    @property
    def words(self) -> str:
        kind = str(self.x.dtype).removeprefix("torch.")
        return f"{kind}{tuple(self.x.shape)} {self.layout}{', bad rows' if self.bad else ''}"


class Draw:
    """A source of everything that a case needs. One seed, one case."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(self.random.getrandbits(60))

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def shape(self, most: int = 3) -> list[int]:
        return [self.random.choice(_SIZES) for _ in range(self.random.randint(0, most))]

    def dtype(self) -> torch.dtype:
        return self.random.choice(FLOATING)

    def laid_out(self, x: Tensor) -> tuple[Tensor, str]:
        """The same values in another layout."""
        kind = self.random.choice(("contiguous", "contiguous", "transposed", "strided", "offset", "expanded", "moved"))
        if kind == "transposed" and x.ndim > 1:
            return x.transpose(-1, -2).contiguous().transpose(-1, -2), kind
        if kind == "strided" and x.ndim:
            return torch.stack([x, x.flip(-1)], -1).flatten(-2)[..., ::2], kind
        if kind == "offset":
            return torch.cat([x.flatten()[:3], x.flatten()])[min(3, x.numel()) :].view(x.shape), kind
        if kind == "expanded" and x.ndim > 1 and len(x):
            return x[:1].expand(x.shape), kind
        if kind == "moved" and x.ndim > 2:
            return x.movedim(0, 1).contiguous().movedim(1, 0), kind
        return x, "contiguous"

    def logits(self, rows: bool = True, least: int = 1, dim: int = -1, spoiled: bool = True) -> Logits:
        """Logits (..., K), or of any shape where they are no rows.

        Args:
            rows: whether the categories are in a dimension.
            least: how many categories a valid row leaves.
            dim: of the categories.
            spoiled: whether some may be bad.
        """
        shape = self.shape()
        if rows:
            categories = self.random.choice(_CATEGORIES)
            categories = 0 if spoiled and self.chance(0.02) else max(least, categories)
            shape.insert(len(shape) + 1 + dim if dim < 0 else dim, categories)
        values = self.normal(*shape) * self.random.choice(_SCALES)
        if self.chance(0.1):
            values = values.round()  # ties
        if self.chance(0.05):
            values = values * 0 + self.normal(1) * 30000
        dtype = self.dtype()
        if rows and shape[dim] > least and self.chance(0.3):
            keep = self.normal(*shape).argsort(dim) < self.random.randint(least, shape[dim])
            values = values.masked_fill(~keep, -math.inf)
        elif not rows and self.chance(0.1):
            values = values.masked_fill(self.normal(*shape) > 1.0, self.random.choice((-math.inf, math.inf)))
        if spoiled and values.numel() and self.chance(0.06):
            value = self.random.choice((math.nan, math.inf, -math.inf)) if rows else math.nan
            if rows and value == -math.inf:
                index = tuple(self.random.randrange(size) for size in values.movedim(dim, -1).shape[:-1])
                values.movedim(dim, -1)[index] = value
            else:
                values[tuple(self.random.randrange(size) for size in shape)] = value
        if spoiled and self.chance(0.05):
            dtype = self.random.choice(NOT_FLOATING)
            values = values.nan_to_num(0.0, 0.0, 0.0)
        leaf = values.to(dtype)
        if leaf.is_floating_point() and self.chance(0.7):
            leaf.requires_grad_()
        x, layout = self.laid_out(leaf)
        bad = self._spoiled(x.detach(), rows, dim)  # an expanded tensor repeats its first row: a bad one may be gone
        few = (
            int((~x.detach().isneginf()).sum(dim).min())
            if rows and not bad and x.numel()
            else shape[dim]
            if rows
            else 0
        )
        return Logits(leaf, x, bad, few, layout)

    def _spoiled(self, x: Tensor, rows: bool, dim: int) -> bool:
        """Whether the tensor is not one of logits, or a row has no distribution."""
        if not x.is_floating_point():
            return True
        if not rows:
            return bool(x.isnan().any())
        if not x.shape[dim]:
            return True
        return bool((x.isnan() | x.isposinf()).any() or x.isneginf().all(dim).any())

    def tau(self, shape: list[int] | None = None, spoiled: bool = True) -> tuple[float | Tensor, bool]:
        """A temperature, and whether it is valid; a tensor of one a row at times, where `shape` is given."""
        if spoiled and self.chance(0.06):
            wrong: Any = self.random.choice(_BAD_TAUS)
            if isinstance(wrong, float) and self.chance(0.5):
                return torch.tensor(wrong, dtype=torch.float64), False
            return wrong, False
        number = self.random.choice(_TAUS)
        kind = self.random.choice(("number", "number", "tensor", "learned", "rows", "int"))
        if kind == "int":
            return self.random.randint(1, 3), True
        if kind == "number" or (kind == "rows" and shape is None):
            return number, True
        dtype = self.random.choice((torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16))
        if kind == "rows":
            assert shape is not None
            ones = [1 if self.chance(0.3) else size for size in shape]
            factors = torch.rand(ones, generator=self.generator, dtype=torch.float64) + 0.5
            value = (number * factors).to(dtype)
        else:
            value = torch.tensor(number, dtype=dtype)
        valid = bool(((value.double() >= _LOWEST_TAU) & (value.double() <= _HIGHEST_TAU)).all())
        return (value.requires_grad_() if kind == "learned" or self.chance(0.5) else value), valid

    def k(self, size: int, few: int) -> tuple[int, bool]:
        """A number of categories to choose, and whether it is valid."""
        if self.chance(0.05):
            return self.random.choice((0, -1, size + 1)), False
        k = self.random.randint(1, max(1, min(size, 6)))
        return k, k <= size and k <= few

    def mask(self, shape: list[int]) -> Tensor | None:
        """Which positions count: of `shape` or of its first dimensions."""
        if self.chance(0.6):
            return None
        kept = shape[: self.random.randint(min(1, len(shape)), len(shape))]
        p = self.random.choice((0.0, 0.5, 0.9, 1.0))
        return torch.rand(kept, generator=self.generator) < p
