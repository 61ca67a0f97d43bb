"""Context managers for a call of a user's module, which is afterwards as before."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class frozen:
    """A module in eval() whose parameters need no gradient; at the end of the block it is as it was before.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 1), nn.Dropout())
        >>> with frozen(model):
        ...     model.training, model[0].weight.requires_grad
        (False, False)
        >>> model.training, model[1].training, model[0].weight.requires_grad
        (True, True, True)
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        self._modes = [(part, part.training) for part in self.module.modules()]
        self._trainable = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.module.eval()
        for parameter in self._trainable:
            parameter.requires_grad_(False)

    def __exit__(self, *exception: object) -> None:
        for parameter in self._trainable:
            parameter.requires_grad_(True)
        for part, training in self._modes:
            part.training = training


@contextmanager
def in_dtype_of(module: nn.Module) -> Iterator[torch.dtype]:
    """The dtype of a module's parameters (float32 if it has none), which is torch's default dtype inside the block.

    Lightning's `bf16-true` changes the default dtype; an oracle that makes tensors must make them in its own dtype.
    """
    before = torch.get_default_dtype()
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    torch.set_default_dtype(dtype)
    try:
        yield dtype
    finally:
        torch.set_default_dtype(before)
