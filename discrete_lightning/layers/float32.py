"""State that keeps its dtype under every precision."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class Float32State(nn.Module):
    """A module whose own parameters and buffers keep their dtype when a model is cast (`.to(dtype)`, `.half()`).

    Lightning's precision plugins (`bf16-true`, `16-true`) cast so. FullyShardedDataParallel does not: with a `buffer_dtype`
    it casts buffers directly, these too.

    A moving average in bf16 with a decay of 0.999 never changes, and a counter in bf16 stops at 256: temperatures, loss
    weights and code statistics are therefore left out of casts. They move between devices like all state.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # nn.Module._apply hands its argument down to the children; those that are not Float32State must see the original
        for child in self.children() if recurse else ():
            child._apply(fn)
        children, self._modules = self._modules, {}
        try:
            super()._apply(_without_cast(fn))
        finally:
            self._modules = children
        return self


class FixedDtype(nn.Module):
    """A module that keeps the dtypes of everything in it, children included, when a model is cast (see `Float32State`)."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return super()._apply(_without_cast(fn), recurse)


def _without_cast(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def keep_dtype(tensor: Tensor) -> Tensor:
        result = fn(tensor)
        return result if result.dtype == tensor.dtype else tensor.to(result.device)

    return keep_dtype
