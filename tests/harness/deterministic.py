"""Operations that have no deterministic algorithm on CUDA: `Trainer(deterministic=True)` makes them raise there.

The list is that of the documentation of `torch.use_deterministic_algorithms`, by the names of the kernels.
"""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_RAISING = {
    "avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward",
    "fractional_max_pool2d_backward", "fractional_max_pool3d_backward", "max_unpool2d", "max_unpool3d",
    "upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward",
    "upsample_trilinear3d_backward", "_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "nll_loss2d_forward",
    "nll_loss2d_backward", "_ctc_loss_backward", "put", "put_", "histc", "kthvalue", "grid_sampler_2d_backward",
    "grid_sampler_3d_backward", "index_reduce", "index_reduce_",
}  # fmt: skip


def is_nondeterministic(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call of this kernel on CUDA tensors raises."""
    name, overload = function.overloadpacket.__name__, function._overloadname
    if name in ("cumsum", "cumsum_"):
        return args[0].is_floating_point() or kwargs.get("dtype", args[0].dtype).is_floating_point
    if name in ("median", "nanmedian"):
        return overload.startswith("dim")  # with indices
    if name == "bincount":
        return kwargs.get("weights", args[1] if len(args) > 1 else None) is not None
    if name == "multinomial":  # more than one draw with replacement uses a cumulative sum
        return args[1] > 1 and kwargs.get("replacement", args[2] if len(args) > 2 else False)
    if name in ("scatter_reduce", "scatter_reduce_"):
        return args[4] == "prod"
    return name in _RAISING


class Deterministic(TorchDispatchMode):
    """Raises RuntimeError at such an operation, on any device, in forward and backward passes."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Tensor:
        if is_nondeterministic(function, args, kwargs or {}):
            name = function.overloadpacket.__name__
            raise RuntimeError(f"{name} does not have a deterministic implementation, but you set deterministic=True")
        return function(*args, **(kwargs or {}))
