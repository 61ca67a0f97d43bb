"""The optimisers that train what a tensor was computed from.

torch keeps no link from a parameter to its optimiser. The optimisers of the process are found among the objects that Python's
garbage collector knows. That takes some 10 milliseconds for a million objects, and is done when a layer meets a parameter
that it does not know.
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


def living_optimizers() -> Iterator[list[Optimizer]]:
    """The torch optimisers of this process: first the youngest objects' alone, at last all of them.

    Example:
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
        >>> any(each is optimizer for each in list(living_optimizers())[-1])
        True
    """
    kinds: set[type] = set()
    waiting: list[type] = [Optimizer]
    while waiting:
        kind = waiting.pop()
        if kind not in kinds:
            kinds.add(kind)
            waiting.extend(kind.__subclasses__())
    for generation in (0, 1):
        yield [each for each in gc.get_objects(generation) if type(each) in kinds]
    yield [each for each in gc.get_referrers(*kinds) if type(each) in kinds]


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


def find_owning_optimizers(tensor: Tensor, young: bool) -> tuple[Tensor | None, list[Optimizer]]:
    """`owning_optimizers` among all of this process.

    Args:
        tensor: with its graph.
        young: whether young optimisers are enough if they train the nearest leaf.
    """
    nearest = next(trained_leaves(tensor), None)
    found: tuple[Tensor | None, list[Optimizer]] = (None, [])
    if nearest is not None:
        for optimizers in living_optimizers() if young else [list(living_optimizers())[-1]]:
            found = owning_optimizers(tensor, optimizers)
            if found[0] is nearest:
                break
    return found
