"""Calls the update of a layer after each step of the optimisers that train it, or what comes before it, in one process.

The hooks are on those optimisers alone. A copy of the layer has none, and looks for its own.
"""

import weakref
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from discrete_lightning.layers.owning_optimizers import find_owning_optimizers, trained_leaves

_TRIES = 2  # without pending passes; an optimiser may be made after the first pass


class Updatable(Protocol):
    """What is updated after a step."""

    def update(self) -> None:
        """Applies what was collected."""


class OwnSteps:
    """The owners of a layer: the optimisers that train the nearest parameter before it.

    Args:
        layer: whose `update` is called; it is not kept alive.
    """

    def __init__(self, layer: Updatable) -> None:
        self._hook = _Hook(layer)
        self._owners: list[tuple[weakref.ref[Optimizer], RemovableHandle]] = []
        self._leaf: weakref.ref[Tensor] | None = None
        self._version = 0  # of the leaf after the last step; fused optimisers count none
        self._usual = 1  # passes a step
        self._is_new = False
        self._failed = 0  # how often it found no owner
        self._next = 0  # pending passes at which it then looks again

    def __bool__(self) -> bool:
        """Whether an owner is alive."""
        return any(owner() is not None for owner, _ in self._owners)

    def look(self, result: Tensor, pending: int) -> None:
        """Finds the owners, from what a pass gave.

        Args:
            result: with its graph.
            pending: passes since the last step. More than usual, or a parameter that was changed otherwise: another optimiser
                may have taken over.
        """
        leaf = self._leaf() if self._leaf else None
        if self:
            is_usual = pending <= 2 * self._usual and (leaf is None or leaf._version == self._version)
            if is_usual and any(each is leaf for each in trained_leaves(result)):
                return
        elif pending < self._next and (pending or self._failed >= _TRIES):
            return
        leaf, owners = find_owning_optimizers(result, young=not self)
        if leaf is None:
            self._failed, self._next = self._failed + 1, 2 * pending + 1
        else:
            self._failed, self._leaf, self._version = 0, weakref.ref(leaf), leaf._version
        known = [owner() for owner, _ in self._owners]
        for each in owners:
            if not any(each is one for one in known):
                self._is_new = True
                self._owners.append((weakref.ref(each), each.register_step_post_hook(self._hook)))
        if not self._is_new:
            self._usual = max(self._usual, pending)  # so many are usual, then

    def stepped(self, passes: int) -> None:
        """Notes how many passes a step had, but for those before its optimiser was found."""
        if not self._is_new:
            self._usual = max(self._usual, passes)
        self._is_new = False
        if self._leaf is not None and (leaf := self._leaf()) is not None:
            self._version = leaf._version

    def forget(self) -> None:
        """Ends the hooks."""
        for _, handle in self._owners:
            handle.remove()
        self._owners, self._leaf, self._failed, self._next = [], None, 0, 0


class _Hook:
    def __init__(self, layer: Updatable) -> None:
        self.layer = weakref.ref(layer)

    @torch.compiler.disable
    def __call__(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if (layer := self.layer()) is not None:
            layer.update()
