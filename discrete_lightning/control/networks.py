"""Networks of policies and critics, with the weights that they are known to need at the start.

Orthogonal weights, biases of zero, and a last layer of a policy 100 times smaller: a policy starts close to uniform
(Huang et al. 2022, https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/, details 2 and 13;
Andrychowicz et al. 2020, https://arxiv.org/abs/2006.05990, section 3.2).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

from torch import Tensor, nn

from discrete_lightning.control.running_norm import RunningNorm
from discrete_lightning.layers.recorded import Recorded

Activation = Literal["tanh", "relu", "silu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU}


class ControlMLP(Recorded, nn.Module):
    """Observations (..., *shape), flattened, through hidden layers to (..., outputs), in the dtype of the weights.

    Args:
        shape: of an observation.
        outputs: number of them.
        hidden: units of each hidden layer; empty: one linear map, a table where observations are one-hot.
        activation: "tanh", "relu" or "silu".
        gain: of the last layer's weights: 0.01 for a policy, 1 for a critic.
        norm: of the observations; networks may share one.

    Raises:
        ValueError: if a size is less than 1, or the activation is unknown.

    Example:
        >>> ControlMLP([4], 2)(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
        gain: float = 1.0,
        norm: RunningNorm | None = None,
    ) -> None:
        super().__init__()
        if activation not in get_args(Activation):
            raise ValueError(f"activation is one of {', '.join(get_args(Activation))}, got {activation!r}")
        self.shape, self.norm = tuple(shape), norm
        sizes = [math.prod(shape), *hidden, outputs]
        if min(sizes) < 1:
            raise ValueError(f"sizes are 1 or more, got shape={list(shape)}, hidden={list(hidden)}, outputs={outputs}")
        layers: list[nn.Module] = []
        for i, (inputs, units) in enumerate(pairwise(sizes)):
            is_last = i == len(sizes) - 2
            layer = nn.Linear(inputs, units)
            nn.init.orthogonal_(layer.weight, gain if is_last else math.sqrt(2))
            nn.init.zeros_(layer.bias)
            layers += [layer] if is_last else [layer, _ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers)

    def forward(self, observations: Tensor) -> Tensor:
        """Outputs, (..., outputs)."""
        if self.norm is not None:
            observations = self.norm(observations)
        flat = observations.flatten(-len(self.shape)) if self.shape else observations.unsqueeze(-1)
        weight = self.layers[0].weight
        assert isinstance(weight, Tensor)
        found: Tensor = self.layers(flat.to(weight.dtype))
        return found
