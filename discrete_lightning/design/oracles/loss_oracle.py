"""The base of oracles that are losses elsewhere: the score is the negative loss, so that a higher score is better."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from discrete_lightning.design.oracles.function import Oracle, as_module, name_of
from discrete_lightning.design.oracles.one_output import described
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.layers.recorded import Recorded

Values = Tensor | Sequence[Any] | float


class LossOracle(Recorded, ConstantBuffers):
    """score(x) = -loss(model(x)). A DesignProblem refuses every goal but Maximize (see protocols.StatesDirection).

    Args:
        model: a module or a function of one-hot sequences (batch, letters, length), as the other package takes it.
        desired: the outputs that are desired, with or without a first dimension of 1; None if the loss needs none.
    """

    higher_score_is_better: ClassVar[bool] = True
    desired: Tensor | None

    def __init__(self, model: Oracle, desired: Values | None) -> None:
        super().__init__()
        self.model = as_module(model)
        with real_device():
            value = None if desired is None else torch.as_tensor(desired, dtype=torch.float32).clone()
            if value is not None and value.ndim < 2:
                value = value.reshape(1, -1)
            self.register_constant("desired", value)

    def _desired_for(self, outputs: Tensor) -> Tensor:
        """The desired outputs in the shape of the model's, (batch, outputs, ...)."""
        assert self.desired is not None
        try:
            if self.desired.ndim != outputs.ndim:
                raise RuntimeError
            return self.desired.to(outputs).expand_as(outputs)
        except RuntimeError:
            raise ValueError(
                f"{type(self).__name__}: the desired outputs are of shape {tuple(self.desired.shape)}, and the outputs that "
                f"they are compared with are of shape {tuple(outputs.shape)}: give (1, outputs)"
            ) from None

    def _check_outputs(self, outputs: Any, count: int) -> Tensor:
        """What the model returned, (batch, outputs, ...)."""
        if not isinstance(outputs, Tensor) or outputs.ndim < 2 or len(outputs) != count:
            raise ValueError(
                f"{type(self).__name__}: {name_of(self.model)} must return ({count}, outputs, ...) for {count} sequences, got "
                f"{described(outputs)}"
            )
        return outputs
