"""State that keeps its dtype under every precision."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class Float32State(nn.Module):
    """A module whose own parameters and buffers keep their dtype when a model is cast (`bf16-true`, `.half()`).

    A decay of 0.999 never moves a bf16 average and a bf16 counter stops at 256, so temperatures, weights and code
    statistics are kept out of such casts. Moves between devices work as ever.
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
    """A module that keeps its dtypes with everything in it when a model is cast: what it holds is not ours to round."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return super()._apply(_without_cast(fn), recurse)


def _without_cast(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def keep_dtype(tensor: Tensor) -> Tensor:
        result = fn(tensor)
        return result if result.dtype == tensor.dtype else tensor.to(result.device)

    return keep_dtype
