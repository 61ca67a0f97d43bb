"""A pretended accelerator: tensors are on the CPU, and Python code is told that they are on the accelerator.

Inside `PretendDevice("mps")` every tensor that existed before, and every tensor made with its device, says that its device is
"mps". A tensor that is made with no device, or moved by `.cpu()`, is on the host, and so is what is computed from it. So
code takes the branches that it takes on an accelerator, and three faults show that otherwise need one:

- a float64 tensor on the device (MPS has none), if `float64` is False: TypeError;
- tensors of both places in one operation: RuntimeError, as torch gives;
- a host read of a device's values (`.item()`, `bool()`, `.cpu()`, operations whose result's shape depends on values), which
  waits until the device has finished: counted in `reads`, by operation and line of the package.
"""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_MAY_MIX = {"__getitem__", "__setitem__", "copy_", "to", "index_put", "index_put_", "type_as", "set_", "swap_tensors"}
_COPIES_TO_THE_HOST = {"cpu", "numpy", "tolist", "__array__"}
# On CUDA each of these waits: it returns a Python value, or a tensor whose shape depends on values
_WAITING_KERNELS = {
    "_local_scalar_dense", "equal", "nonzero", "bincount", "masked_select", "unique_dim", "_unique2", "unique_consecutive",
    "repeat_interleave",
}  # fmt: skip

_DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]


class OnHost(Tensor):
    """A tensor that is on the CPU also where others pretend not to be."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class _HostGenerator(torch.Generator):
    """Of whatever device is asked for, on the CPU."""

    def __new__(cls, device: Any = None) -> "_HostGenerator":
        return super().__new__(cls)


class PretendDevice(TorchFunctionMode):
    """See the top of this file.

    Args:
        name: what `tensor.device.type` says: "cuda" or "mps".
        float64: whether the device has float64.

    Attributes:
        reads: how often a host read happened, by `operation file:line`.
    """

    def __init__(self, name: str = "cuda", float64: bool = True) -> None:
        super().__init__()
        self.pretended, self.float64 = torch.device(name), float64
        self.reads: Counter[str] = Counter()
        self._kernels = _Kernels(self)
        self._generator = torch.Generator
        self.on_host = False  # whether the operation that runs is the host's own

    def __enter__(self) -> "PretendDevice":
        torch.Generator = _HostGenerator  # type: ignore[misc]
        super().__enter__()
        self._kernels.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._kernels.__exit__(*exception)
        super().__exit__(*exception)
        torch.Generator = self._generator  # type: ignore[misc]

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        name = (resolve_name(function) or getattr(function, "__name__", str(function))).rpartition(".")[2]
        if function == _DEVICE:
            return torch.device("cpu") if isinstance(args[0], OnHost) else self.pretended
        there = [each for each in tensors if not isinstance(each, OnHost)]
        here = [each for each in tensors if isinstance(each, OnHost)]
        if name not in _MAY_MIX and there and any(each.ndim for each in here):
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, {self.pretended} and cpu")
        args, target = self._without_device(args, name)
        if (asked := kwargs.get("device")) is not None:
            target, kwargs["device"] = torch.device(asked), torch.device("cpu")
        if there and (name in _COPIES_TO_THE_HOST or (target is not None and target.type == "cpu")):
            self.count(name)
            target = torch.device("cpu")
        before, self.on_host = self.on_host, self.on_host or not there or target == torch.device("cpu")
        if not tensors and target == self.pretended:
            self.on_host = False
        try:
            result = function(*args, **kwargs)
        finally:
            self.on_host = before
        on_host = target.type == "cpu" if target is not None else not there
        return tree_map(lambda each: _placed(each, on_host), result)

    def _without_device(self, args: tuple[Any, ...], name: str) -> tuple[tuple[Any, ...], torch.device | None]:
        """Arguments as the CPU can take them, and the device among them."""
        given = [each for each in args if isinstance(each, torch.device)]
        if name == "to" and len(args) > 1 and isinstance(args[1], str):
            given = [torch.device(args[1])]
        if name == "to" and len(args) > 1 and isinstance(args[1], Tensor):
            given = [torch.device("cpu") if isinstance(args[1], OnHost) else self.pretended]
            args = (args[0], args[1].dtype, *args[2:])
        if not given:
            return args, None
        cpu = torch.device("cpu")
        return tuple(cpu if isinstance(each, torch.device | str) else each for each in args), given[0]

    def count(self, name: str) -> None:
        """Notes a host read; the package's innermost line that did it."""
        frame: Any = sys._getframe(1)
        while frame is not None and "/discrete_lightning/" not in frame.f_code.co_filename:
            frame = frame.f_back
        where = ""
        if frame is not None:
            where = f" {frame.f_code.co_filename.rpartition('/discrete_lightning/')[2]}:{frame.f_lineno}"
        self.reads[f"{name}{where}"] += 1


def _placed(value: Any, on_host: bool) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, OnHost) == on_host or isinstance(value, torch.nn.Parameter):
        return value
    return value.as_subclass(OnHost) if on_host else value.as_subclass(Tensor)


class _Kernels(TorchDispatchMode):
    """What runs below Python: backward passes, and the parts of an operation."""

    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if self.device.on_host:
            return result
        name = function.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(each, Tensor) and each.dtype == torch.bool for each in args[1]
        )
        sized = name == "repeat_interleave" and (kwargs or {}).get("output_size") is not None
        if (name in _WAITING_KERNELS and not sized) or masks:
            self.device.count(name)
        if not self.device.float64:
            for each in tree_leaves(result):
                if isinstance(each, Tensor) and each.dtype == torch.float64:
                    raise TypeError(
                        f"{name}: Cannot convert a {self.device.pretended.type.upper()} Tensor to float64 dtype"
                    )
        return result


def host_reads(steps: int, step: Callable[[], object], name: str = "cuda") -> Counter[str]:
    """The host reads of the last of `steps` calls of `step`."""
    with PretendDevice(name) as device:
        for _ in range(steps):
            device.reads.clear()
            step()
    return device.reads
