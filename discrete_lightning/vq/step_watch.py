"""Tells whether the optimiser that trains what a codebook quantises has made a step, without asking the optimiser.

torch keeps no link from a tensor to its optimiser. But a step changes a parameter in place, which its version counter shows,
and `zero_grad` between two steps drops its gradient. So one parameter is watched: the nearest one upstream of the vectors.
Another model's optimiser does not change it.
"""

from collections import deque

import torch  # noqa: F401 - the doctest
from torch import Tensor, nn

from discrete_lightning.functional._torch_private import backward_number


def nearest_parameter(tensor: Tensor) -> nn.Parameter | None:
    """The trainable parameter nearest to `tensor` in its autograd graph; None if there is none.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> nearest_parameter(layer(torch.ones(1, 2)).square()) is layer.bias
        True
    """
    seen, waiting = set(), deque([tensor.grad_fn])
    while waiting:
        node = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(leaf := getattr(node, "variable", None), nn.Parameter):
            return leaf
        waiting.extend(each for each, _ in node.next_functions)
    return None


class StepWatch:
    """Whether an optimiser has stepped since the backward pass in which this watch was made.

    Args:
        parameter: trained by that optimiser.
    """

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter, self.version, self.backward = parameter, parameter._version, backward_number()

    def stepped(self) -> bool:
        """Fused optimisers change parameters without counting a version: there the next `zero_grad` shows the step."""
        if self.parameter._version != self.version:
            return True
        return self.parameter.grad is None and backward_number() != self.backward
