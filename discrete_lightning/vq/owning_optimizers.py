"""The optimisers that train what a tensor was computed from.

torch keeps no link from a parameter to its optimiser. The optimisers of the process are found among the objects that Python's
garbage collector knows, which takes some 10 milliseconds, and is done when a codebook meets a parameter that it does not know.
"""

import gc
from collections import deque
from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.optim import Optimizer


def trained_leaves(tensor: Tensor) -> Iterator[Tensor]:
    """The leaves of `tensor`'s autograd graph, nearest first: parameters, and inputs that need a gradient.

    Example:
        >>> layer = torch.nn.Linear(2, 2)
        >>> [each is layer.bias for each in trained_leaves(layer(torch.ones(1, 2)).square())]
        [True, False]
    """
    if tensor.is_leaf:
        if tensor.requires_grad:
            yield tensor
        return
    seen, waiting = set(), deque([tensor.grad_fn])
    while waiting:
        node = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            yield leaf
        waiting.extend(each for each, _ in node.next_functions)


def living_optimizers() -> list[Optimizer]:
    """All torch optimisers of this process.

    Example:
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
        >>> any(each is optimizer for each in living_optimizers())
        True
    """
    kinds: set[type] = set()
    waiting: list[type] = [Optimizer]
    while waiting:
        kind = waiting.pop()
        if kind not in kinds:
            kinds.add(kind)
            waiting.extend(kind.__subclasses__())
    return [each for each in gc.get_referrers(*kinds) if type(each) in kinds]


def owning_optimizers(tensor: Tensor, optimizers: Iterable[Optimizer]) -> tuple[Tensor | None, list[Optimizer]]:
    """The nearest leaf before `tensor` that any of `optimizers` trains, and those that do; None if there is none.

    Example:
        >>> near, far = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> optimizers = [torch.optim.SGD(each.parameters()) for each in (near, far)]
        >>> leaf, owners = owning_optimizers(near(far(torch.ones(1, 2))), optimizers)
        >>> leaf is near.bias, owners == optimizers[:1]
        (True, True)
    """
    holders: dict[int, list[Optimizer]] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for each in group["params"]:
                holders.setdefault(id(each), []).append(optimizer)
    if holders:
        for leaf in trained_leaves(tensor):
            if id(leaf) in holders:
                return leaf, holders[id(leaf)]
    return None, []
