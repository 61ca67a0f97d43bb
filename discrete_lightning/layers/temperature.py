"""Numbers that a schedule moves: temperatures and loss weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.layers.recorded import Recorded


class Scheduled(Recorded, PrivateState, Float32State):
    """A number as a 0-dim float32 tensor: checkpoints save it, torch.compile compiles once for all values, and no weight
    averaging or cast changes it.

    The annealing callbacks set every Scheduled of their kind that they find in a module and that is not `learnable`.
    """

    value: Tensor
    learnable: bool = False

    def __init__(self, init: float) -> None:
        super().__init__()
        self._check(init)
        self._register(float(init))

    def _register(self, init: float) -> None:
        self.register_private("value", torch.tensor(init, dtype=torch.float32, device=real_device()))

    def forward(self) -> Tensor:
        """The number, as a 0-dim float32 tensor."""
        return self.value

    @torch.no_grad()
    def set(self, value: float) -> None:
        """Sets the number.

        Raises:
            ValueError: if it is out of range.
        """
        self._check(value)
        self.value.fill_(value)

    def _check(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"{type(self).__name__} must be a finite number, got {value}")

    def extra_repr(self) -> str:
        value = self().detach()
        return "meta" if value.is_meta else f"{value.item():.4g}"


class LossWeight(Scheduled):
    """The weight of a term of a loss (entropy bonus, KL), any finite number >= 0; moved by `WeightAnnealing`.

    Example:
        >>> weight = LossWeight(0.5)
        >>> weight.set(0.25)
        >>> weight()
        tensor(0.2500)
    """

    def _check(self, value: float) -> None:
        super()._check(value)
        if value < 0:
            raise ValueError(f"a loss weight must not be negative, got {value}: change the sign in the loss")


class Temperature(Scheduled):
    """The temperature of a relaxation, moved by `TemperatureAnnealing` or learned.

    Args:
        init: first value, > `minimum`.
        minimum: lower bound, in (0, init), for schedules and gradients alike.
        learnable: a parameter instead of a buffer, tau = minimum + softplus(raw). With an entropy bonus in the loss,
            gradient descent raises it.

    Raises:
        ValueError: if `init` or `minimum` is not positive.

    Example:
        >>> temperature = Temperature(1.0, minimum=0.1)
        >>> temperature.set(0.01)
        >>> temperature()
        tensor(0.1000)
    """

    def __init__(self, init: float = 1.0, minimum: float = 1e-3, learnable: bool = False) -> None:
        if not 0 < minimum < init:
            raise ValueError(f"a temperature needs 0 < minimum < init, got init={init}, minimum={minimum}")
        self.minimum, self.learnable = float(minimum), learnable
        super().__init__(init)

    def _register(self, init: float) -> None:
        if self.learnable:
            raw = init - self.minimum
            raw = raw + math.log(-math.expm1(-raw))  # the inverse of softplus
            self.raw = nn.Parameter(torch.tensor([raw], dtype=torch.float32))  # FSDP refuses 0-dim parameters
        else:
            super()._register(init)

    def forward(self) -> Tensor:
        """The temperature, a 0-dim float32 tensor >= minimum."""
        if self.learnable:
            return self.minimum + nn.functional.softplus(self.raw.float())[0]  # FSDP casts parameters for the pass
        return self.value.clamp_min(self.minimum)

    def set(self, value: float) -> None:
        """Sets the temperature; below `minimum` it reads as `minimum`.

        Raises:
            ValueError: if `value` is not positive.
            RuntimeError: if the temperature is learned.
        """
        if self.learnable:
            raise RuntimeError("this temperature is learned: train it or anneal it, not both (learnable=False)")
        super().set(value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        raw = state_dict.get(f"{prefix}raw")
        if isinstance(raw, Tensor) and not raw.ndim:  # as older checkpoints hold it
            state_dict[f"{prefix}raw"] = raw.reshape(1)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _check(self, value: float) -> None:
        if not 0 < value < math.inf:
            raise ValueError(f"a temperature must be positive and finite, got {value}; its lower end is `minimum`")
