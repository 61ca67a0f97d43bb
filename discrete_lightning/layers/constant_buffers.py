"""Tensors that follow from the arguments of a constructor: they are not saved, and they never lose their values.

A module that is built on torch's meta device, materialised by `to_empty()` and filled by `load_state_dict()` would hold
arbitrary numbers in a buffer that is not part of the state dict. Saving such tensors would be wrong, too: a checkpoint could
then replace, for example, the allowed letters of the constraints that the config names.
"""

import torch
from torch import Tensor

from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState


def real_device() -> torch.device:
    """The default device, or the CPU if the default device is the meta device, on which tensors have no values.

    Example:
        >>> with torch.device("meta"), real_device():
        ...     torch.zeros(2).device
        device(type='cpu')
    """
    default = torch.get_default_device()
    return torch.device("cpu") if default.type == "meta" else default


class ConstantBuffers(PrivateState, Float32State):
    """A module whose constants move between devices with the model and keep their dtype and their values.

    Example:
        >>> module = ConstantBuffers()
        >>> module.register_constant("table", torch.tensor([1.0, 2.0]))
        >>> module.to("meta").to_empty(device="cpu").table, module.state_dict()
        (tensor([1., 2.]), OrderedDict())
    """

    def register_constant(self, name: str, value: Tensor | None) -> None:
        """Adds a tensor that is not saved. Make `value` under `real_device()`."""
        self.register_private(name, value, persistent=False)
