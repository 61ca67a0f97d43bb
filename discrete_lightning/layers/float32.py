"""State that keeps its dtype under every precision."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn


class Float32State(nn.Module):
    """A module whose own parameters and buffers keep their dtype when a model is cast (`.to(dtype)`, `.half()`).

    Lightning's precision plugins (`bf16-true`, `16-true`) cast so. FullyShardedDataParallel with a 16-bit `buffer_dtype` casts
    buffers past this: the first forward pass then raises a TypeError that says what to set.

    A moving average in bf16 with a decay of 0.999 never changes, and a counter in bf16 stops at 256: temperatures, loss
    weights and code statistics are therefore left out of casts. They move between devices like all state.

    Attributes:
        written_parameters: names of parameters that the layer writes to by itself, beside the optimiser.
    """

    written_parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_forward_pre_hook(_check_not_cast)

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


def _check_not_cast(module: "Float32State", _args: Any) -> None:
    written = [(name, module._parameters[name], "param_dtype") for name in module.written_parameters]
    for name, tensor, argument in [*((*each, "buffer_dtype") for each in module._buffers.items()), *written]:
        if tensor is not None and tensor.dtype in (torch.bfloat16, torch.float16):
            raise TypeError(
                f"{type(module).__name__}.{name} was cast to {tensor.dtype}, in which averages stop moving: give FSDP "
                f"(Lightning: FSDPStrategy) mixed_precision=MixedPrecision(..., {argument}=torch.float32)"
            )


def check_whole(parameter: Tensor, shape: tuple[int, ...], where: str, advice: str) -> None:
    """For a layer that writes to a parameter by itself.

    Raises:
        RuntimeError: if FSDP has left this rank a part of the parameter, or none of it.
    """
    if type(parameter.data) is not Tensor or tuple(parameter.shape) != shape:
        raise RuntimeError(f"{where} is sharded by FSDP, and the layer writes to it: {advice}")


def _without_cast(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def keep_dtype(tensor: Tensor) -> Tensor:
        result = fn(tensor)
        return result if result.dtype == tensor.dtype else tensor.to(result.device)

    return keep_dtype
