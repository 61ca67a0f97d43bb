"""Tells whether the optimiser that trains what a codebook quantises has made a step, without asking the optimiser.

torch keeps no link from a tensor to its optimiser. But a step changes a parameter in place, which its version counter shows,
and `zero_grad` between two steps drops its gradient. So one parameter is watched: the nearest one upstream of the vectors.
Another model's optimiser does not change it.
"""

from collections import deque

import torch
from torch import Tensor, nn

from discrete_lightning.functional._torch_private import backward_number
from discrete_lightning.vq.reaching import Reaching

_COMPARED = 1024  # values of a parameter


def nearest_leaf(tensor: Tensor) -> Tensor | None:
    """The trainable parameter nearest to `tensor` in its autograd graph; if there is none, the nearest leaf; or None.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> nearest_leaf(layer(torch.ones(1, 2)).square()) is layer.bias
        True
    """
    if tensor.is_leaf:
        return tensor if tensor.requires_grad else None
    seen, waiting, other = set(), deque([tensor.grad_fn]), None
    while waiting:
        node = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            if isinstance(leaf, nn.Parameter):
                return leaf
            other = leaf if other is None else other
        sources = node.next_functions
        if getattr(node, "_forward_cls", None) is Reaching:  # its value is that of the first
            sources = sources[:1]
        waiting.extend(each for each, _ in sources)
    return other


class StepWatch:
    """Whether an optimiser has stepped since the backward pass in which this watch was made.

    A step changes the parameter in place and counts up its version. A fused optimiser does not count: there values on the CPU
    are compared, and on an accelerator, where that would wait for the device, the next `zero_grad` shows the step.

    Args:
        leaf: a parameter, or another leaf, that the optimiser trains.
        fused: whether its optimiser may be a fused one; False once a version was counted.
    """

    def __init__(self, leaf: Tensor, fused: bool = True) -> None:
        self.leaf, self.fused, self.version, self.backward = leaf, fused, leaf._version, backward_number()
        self.values = _some_values(leaf) if fused and leaf.device.type == "cpu" else None

    def counted(self) -> bool:
        """Whether the version says so."""
        return self.leaf._version != self.version

    def stepped(self) -> bool:
        """Whether anything says so."""
        if self.counted() or not self.fused:
            return self.counted()
        if self.values is not None:
            return not torch.equal(self.values, _some_values(self.leaf))
        return self.leaf.grad is None and backward_number() != self.backward


def _some_values(leaf: Tensor) -> Tensor:
    values = leaf.detach().flatten()
    return values[:: max(1, len(values) // _COMPARED)].clone()
