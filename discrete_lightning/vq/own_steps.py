"""Calls a codebook's update after each step of the optimisers that train what it quantises, in one process.

The hooks are on those optimisers alone. A copy of the codebook has none, and looks for its own.
"""

import weakref
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from discrete_lightning.vq.owning_optimizers import living_optimizers, owning_optimizers, trained_leaves


class Updatable(Protocol):
    """What is updated after a step."""

    def update(self) -> None:
        """Applies what was collected."""


class OwnSteps:
    """The owners of a codebook: the optimisers that train the nearest parameter before it.

    Args:
        codebook: whose `update` is called; it is not kept alive.
    """

    def __init__(self, codebook: Updatable) -> None:
        self._hook = _Hook(codebook)
        self._owners: list[tuple[weakref.ref[Optimizer], RemovableHandle]] = []
        self._leaf: weakref.ref[Tensor] | None = None
        self._usual = 1  # passes a step
        self._is_new = False
        self._next = 0  # pending passes at which it looks again, if there is no owner

    def __bool__(self) -> bool:
        """Whether an owner is alive."""
        return any(owner() is not None for owner, _ in self._owners)

    def look(self, result: Tensor, pending: int) -> None:
        """Finds the owners, from what a pass gave.

        Args:
            result: with its graph.
            pending: passes since the last step. More than usual: another optimiser may have taken over.
        """
        leaf = self._leaf() if self._leaf else None
        if self:
            if pending <= 2 * self._usual and any(each is leaf for each in trained_leaves(result)):
                return
        elif pending < self._next:
            return
        self._next = 2 * pending + 1
        leaf, owners = owning_optimizers(result, living_optimizers())
        if leaf is not None:
            self._leaf = weakref.ref(leaf)
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
        self._is_new, self._next = False, 0

    def forget(self) -> None:
        """Ends the hooks."""
        for _, handle in self._owners:
            handle.remove()
        self._owners, self._leaf, self._next = [], None, 0


class _Hook:
    def __init__(self, codebook: Updatable) -> None:
        self.codebook = weakref.ref(codebook)

    @torch.compiler.disable
    def __call__(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if (codebook := self.codebook()) is not None:
            codebook.update()
