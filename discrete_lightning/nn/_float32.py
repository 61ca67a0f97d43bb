"""State that stays in float32 under every precision."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class Float32State(nn.Module):
    """A module whose own parameters and buffers keep their dtype when a model is cast (`bf16-true`, `.half()`).

    A decay of 0.999 never moves a bf16 average and a bf16 counter stops at 256, so temperatures, weights and code
    statistics are kept out of such casts. Moves between devices work as ever.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_dtype(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        # nn.Module._apply hands its argument down to the children; those that are not Float32State must see the original
        for child in self.children() if recurse else ():
            child._apply(fn)
        children, self._modules = self._modules, {}
        try:
            super()._apply(keep_dtype)
        finally:
            self._modules = children
        return self
