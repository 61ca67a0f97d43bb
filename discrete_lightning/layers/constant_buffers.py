"""Buffers that follow from the arguments of a constructor: they are not saved, and they never lose their values.

A module that is built on torch's meta device, materialised by `to_empty()` and filled by `load_state_dict()` would hold
arbitrary numbers in a buffer that is not part of the state dict. Saving such buffers would be wrong, too: a checkpoint could
then replace, for example, the allowed letters of the constraints that the config names.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from discrete_lightning.layers.float32 import Float32State


def real_device() -> torch.device:
    """The default device, or the CPU if the default device is the meta device, on which tensors have no values.

    Example:
        >>> with torch.device("meta"), real_device():
        ...     torch.zeros(2).device
        device(type='cpu')
    """
    default = torch.get_default_device()
    return torch.device("cpu") if default.type == "meta" else default


class ConstantBuffers(Float32State):
    """A module whose constants move between devices with the model and keep their dtype and their values.

    Example:
        >>> module = ConstantBuffers()
        >>> module.register_constant("table", torch.tensor([1.0, 2.0]))
        >>> module.to("meta").to_empty(device="cpu").table, module.state_dict()
        (tensor([1., 2.]), OrderedDict())
    """

    def register_constant(self, name: str, value: Tensor | None) -> None:
        """Adds a buffer that is not saved. Make `value` under `real_device()`."""
        self.register_buffer(name, value, persistent=False)
        self._constants: tuple[str, ...] = (*self.__dict__.get("_constants", ()), name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = {name: self._buffers[name] for name in self.__dict__.get("_constants", ())}
        super()._apply(fn, recurse)
        for name, value in before.items():
            after = self._buffers[name]
            if value is not None and after is not None:
                self._buffers[name] = value if after.is_meta else value.to(after.device)
        return self
