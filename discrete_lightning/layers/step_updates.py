"""Binds layers to the optimiser that trains them, or what comes before them, so that all ranks join every update.

In one process a layer finds its optimiser itself (`own_steps`), if it trains the layer or anything before it. Ranks must agree
when they communicate, also a rank whose batch did not reach the layer: there the step that all ranks make calls `update()`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from discrete_lightning.distributed import all_gather_equal
from discrete_lightning.layers.updated_layer import UpdatedLayer


class StepBinding:
    """The binding that `update_after_step` makes; `remove()` ends it."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self.layers = [each for each in model.modules() if isinstance(each, UpdatedLayer) and each.is_updated]
        self.optimizers = list(optimizers)
        only = {0} if len(self.optimizers) == 1 else set()
        self._owners = [set(only) for _ in self.layers]  # positions among the optimisers
        for layer in self.layers:
            layer.bind(self)
        self._handles: list[RemovableHandle] = []
        for number, optimizer in enumerate(self.optimizers if self.layers else []):
            self._handles.append(optimizer.register_step_post_hook(partial(self._after_step, number)))

    @torch.compiler.disable
    def _after_step(self, number: int, *_: Any) -> None:
        """Updates the layers that the optimiser of this number owns. Collective."""
        self._find_owners()
        for layer, owners in zip(self.layers, self._owners, strict=True):
            if number in (owners or {0}) and not layer.has_own_steps():  # the first, as long as nobody owns it
                layer.update()

    def _find_owners(self) -> None:
        """The optimisers that train the nearest parameter before a layer, as any rank has seen them."""
        unknown = [index for index, owners in enumerate(self._owners) if not owners and not self.layers[index].frozen]
        if not unknown:
            return
        here = [[each in self.layers[index].seen_owners for each in self.optimizers] for index in unknown]
        seen = all_gather_equal(torch.tensor(here, device=self.layers[0].updates.device).float()).amax(0).tolist()
        for index, owners in zip(unknown, seen, strict=True):
            self._owners[index] = {number for number, is_owner in enumerate(owners) if is_owner}

    def remove(self) -> None:
        """Ends the binding: the optimisers' steps no longer update these layers. What has no step yet is dropped."""
        for handle in self._handles:
            handle.remove()
        for layer in self.layers:
            layer.unbind(self)
        self._handles, self.layers, self._owners = [], [], []


def update_after_step(model: nn.Module, *optimizers: Optimizer) -> StepBinding:
    """Has the layers of a model that collect statistics updated after each step of their optimiser, on all ranks together.

    These are routers (their biases) and codebooks. Needed in a training loop of your own on several ranks, once before the
    loop. In Lightning the callback `StepUpdates` does it; in one process such layers find their optimiser themselves, unless
    nothing before them is trained.

    With several optimisers a layer belongs to those that train its parameter, or else the nearest one before it: a
    discriminator's steps do not count. If none is seen to, it belongs to the first. FSDP with `use_orig_params`, and FSDP2,
    hide which parameter it is: there the layer's optimiser is given first.

    Args:
        model: the module, wrapped or not, that holds the layers; the same on all ranks.
        optimizers: of the training, in the same order on all ranks.

    Returns:
        The binding; its `remove()` ends it.

    Raises:
        ValueError: if no optimiser is given.

    Example:
        >>> from discrete_lightning.routing import BiasBalancedRouter
        >>> router = BiasBalancedRouter(dim=3, count=4, k=2)
        >>> optimizer = torch.optim.Adam(router.parameters())
        >>> binding = update_after_step(router, optimizer)
        >>> router(torch.randn(10, 3)).gates.square().sum().backward()
        >>> optimizer.step()
        >>> router.updates
        tensor(1)
    """
    if not optimizers:
        raise ValueError("update_after_step(model, *optimizers) needs an optimiser, got none")
    return StepBinding(model, optimizers)
