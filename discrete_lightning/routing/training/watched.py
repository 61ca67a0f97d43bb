"""What the routers in a module return while it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router


def routers_of(module: nn.Module) -> dict[str, Router]:
    """The routers in a module, by name."""
    return {name: each for name, each in module.named_modules() if isinstance(each, Router)}


@contextmanager
def watched_routers(module: nn.Module, seen: Callable[[str, Routed], None]) -> Iterator[None]:
    """Inside, `seen(name, routed)` is called with what each router in `module` returns.

    Example:
        >>> from discrete_lightning.routing import ExpertMLP, MixtureOfExperts
        >>> layer, names = MixtureOfExperts(ExpertMLP(4, 8), count=3), []
        >>> with watched_routers(layer, lambda name, routed: names.append(name)):
        ...     _ = layer(torch.zeros(2, 4))
        >>> names
        ['router']
    """

    def hook_of(name: str) -> Callable[[nn.Module, Any, Routed], None]:
        return lambda layer, inputs, routed: seen(name, routed)

    hooks = [each.register_forward_hook(hook_of(name)) for name, each in routers_of(module).items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def first_expert(routed: Routed) -> Tensor:
    """The expert of the largest gate of each token, int64 (...).

    Example:
        >>> gates, none = torch.tensor([[0.3, 0.7]]), torch.zeros(1, 4)
        >>> first_expert(Routed(torch.tensor([[3, 1]]), gates, none, none, torch.zeros(())))
        tensor([1])
    """
    gates = routed.gates.detach().float()
    if routed.taken is not None:
        gates = torch.where(routed.taken, gates, -torch.inf)
    return routed.indices.gather(-1, gates.argmax(-1, keepdim=True))[..., 0]
