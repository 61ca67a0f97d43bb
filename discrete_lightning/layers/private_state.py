"""State of a layer that is saved and moved with it, and that nobody else changes.

A buffer is open to others: weight averaging (Lightning's EMAWeightAveraging, torch's AveragedModel) averages it, and fails on
bool and inf; FullyShardedDataParallel casts it; DistributedDataParallel overwrites it before each pass. A counter, a seed or
an annealed temperature then holds a number that the run never had.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn


class PrivateState(nn.Module):
    """A module with state that is in its state dict, under its own name, but not among its buffers.

    Numbers live on the host: reading one never waits for an accelerator. Tensors move between devices with the module and keep
    their dtype, and also on the meta device their values. All ranks must set them alike: nobody broadcasts them.

    Example:
        >>> module = PrivateState()
        >>> module.register_number("steps", 0)
        >>> module.steps += 1
        >>> dict(module.state_dict()), list(module.buffers())
        ({'steps': tensor(1)}, [])
    """

    def register_number(self, name: str, value: float) -> None:
        """Adds an attribute that is an int, a bool or a float; it is saved as a 0-dim tensor (a float as its bits in int64:
        MPS has no float64)."""
        setattr(self, name, value)
        self._private = {**self.__dict__.get("_private", {}), name: type(value)}

    def register_private(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Adds an attribute that is a tensor; saved if `persistent`. Make it under `real_device()`."""
        setattr(self, name, value)
        self._private = {**self.__dict__.get("_private", {}), name: persistent}

    def private_names(self) -> Iterator[str]:
        """Names of what is registered here, not in the children."""
        return iter(self.__dict__.get("_private", {}))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for name in self.private_names():
            value = getattr(self, name)
            if isinstance(value, Tensor):
                device = fn(value.new_empty(0)).device
                setattr(self, name, value if device.type == "meta" else value.to(device))
        return self

    def _save_to_state_dict(self, destination: "OrderedDict[str, Tensor]", prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self._saved():
            value = getattr(self, name)
            destination[prefix + name] = value if isinstance(value, Tensor) else _as_tensor(value, self._private[name])

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name in self._saved():
            key = prefix + name
            if key in unexpected_keys:
                unexpected_keys.remove(key)
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            given, here = state_dict[key], getattr(self, name)
            if not isinstance(here, Tensor):
                kind = self._private[name]
                is_bits = kind is float and given.dtype == torch.int64
                setattr(self, name, kind((given.cpu().view(torch.float64) if is_bits else given).item()))
            elif here.shape == given.shape:
                here.copy_(given.detach())
            else:
                error_msgs.append(f"size mismatch for {key}: {tuple(given.shape)} saved, {tuple(here.shape)} here")

    def _saved(self) -> list[str]:
        return [name for name, persistent in self.__dict__.get("_private", {}).items() if persistent]


def _as_tensor(value: float, kind: type) -> Tensor:
    if kind is float:
        return torch.tensor(value, dtype=torch.float64, device="cpu").view(torch.int64)
    return torch.tensor(value, device="cpu")


@torch.no_grad()
def copy_private_state(source: nn.Module, target: nn.Module) -> None:
    """Gives `target`, a copy of `source`, the private state of `source`: for an averaged copy, after each update of it.

    Example:
        >>> import copy
        >>> from discrete_lightning.nn import Temperature
        >>> temperature = Temperature(1.0)
        >>> twin = copy.deepcopy(temperature)
        >>> temperature.set(0.5)
        >>> copy_private_state(temperature, twin)
        >>> twin()
        tensor(0.5000)
    """
    there = dict(target.named_modules())
    for name, module in source.named_modules():
        if isinstance(module, PrivateState):
            for each in module.private_names():
                value, theirs = getattr(module, each), getattr(there[name], each)
                if isinstance(value, Tensor) and isinstance(theirs, Tensor):
                    theirs.copy_(value)
                else:
                    setattr(there[name], each, value)
