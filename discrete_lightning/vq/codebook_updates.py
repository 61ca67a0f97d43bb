"""Binds codebooks to the optimiser that trains what they quantise, so that all ranks join every update.

One process needs no binding: a codebook sees the steps of its optimiser itself (`step_watch`). Ranks must agree when they
communicate, also a rank whose batch did not reach the layer: there the step of the optimiser, which all ranks make, calls
`update()`. The hook is one of that optimiser alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from discrete_lightning.distributed import all_gather_equal
from discrete_lightning.vq.quantizers.updated_codebook import UpdatedCodebook

_UNKNOWN, _NO_PARAMETER, _FIRST = 0, 1, 2


class CodebookBinding:
    """The binding that `update_codebooks_after_step` makes; `remove()` ends it."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self.codebooks = [each for each in model.modules() if isinstance(each, UpdatedCodebook)]
        self.optimizers = list(optimizers)
        self.owners: list[int | None] = [0 if len(self.optimizers) == 1 else None for _ in self.codebooks]
        for codebook in self.codebooks:
            codebook.bound += 1
        self._handles: list[RemovableHandle] = []
        for number, optimizer in enumerate(self.optimizers if self.codebooks else []):
            self._handles.append(optimizer.register_step_post_hook(_Hook(self, number)))

    def after_step(self, number: int) -> None:
        """Updates the codebooks that the optimiser of this number owns. Collective."""
        self._find_owners()
        for codebook, owner in zip(self.codebooks, self.owners, strict=True):
            if owner == number:
                codebook.update()

    def _find_owners(self) -> None:
        """An optimiser owns a codebook if it trains the nearest parameter upstream; the first one if none does."""
        unknown = [
            index for index, owner in enumerate(self.owners) if owner is None and not self.codebooks[index].frozen
        ]
        if not unknown:
            return
        mine = torch.tensor([self._owner_seen_here(self.codebooks[index]) for index in unknown])
        seen = all_gather_equal(mine.to(self.codebooks[0].codes.device)).amax(0).tolist()
        for index, found in zip(unknown, seen, strict=True):
            if found != _UNKNOWN:
                self.owners[index] = max(0, found - _FIRST)

    def _owner_seen_here(self, codebook: UpdatedCodebook) -> int:
        windows = codebook.windows
        if not windows:
            return _UNKNOWN
        parameter = windows[0].watch.leaf if windows[0].watch else None
        for number, optimizer in enumerate(self.optimizers):
            if any(parameter is each for group in optimizer.param_groups for each in group["params"]):
                return _FIRST + number
        return _NO_PARAMETER

    def remove(self) -> None:
        """Ends the binding: the optimisers' steps no longer update these codebooks."""
        for handle in self._handles:
            handle.remove()
        for codebook in self.codebooks:
            codebook.bound -= 1
            if not codebook.bound:
                codebook.windows.clear()  # no step has followed
        self._handles, self.codebooks, self.owners = [], [], []


class _Hook:
    def __init__(self, updates: CodebookBinding, number: int) -> None:
        self.updates, self.number = updates, number

    def __call__(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        self.updates.after_step(self.number)


def update_codebooks_after_step(model: nn.Module, *optimizers: Optimizer) -> CodebookBinding:
    """Has the codebooks of a model updated after each step of their optimiser, on all ranks together.

    Needed in a training loop of your own on several ranks, once before the loop. In Lightning the callback
    `CodebookUpdates` does it; in one process codebooks see the steps themselves.

    With several optimisers a codebook belongs to the one that trains the nearest parameter upstream of its vectors, or to
    the first if none does: a discriminator's steps do not count.

    Args:
        model: the module, wrapped or not, that holds the codebooks; the same on all ranks.
        optimizers: of the training, in the same order on all ranks.

    Returns:
        The binding; its `remove()` ends it.

    Raises:
        ValueError: if no optimiser is given.

    Example:
        >>> from discrete_lightning.vq import VectorQuantizer
        >>> encoder, quantizer = nn.Linear(3, 2), VectorQuantizer(num_codes=4, dim=2)
        >>> optimizer = torch.optim.Adam(encoder.parameters())
        >>> binding = update_codebooks_after_step(quantizer, optimizer)
        >>> quantizer(encoder(torch.randn(10, 3))).loss.backward()
        >>> optimizer.step()
        >>> quantizer.updates
        tensor(1)
    """
    if not optimizers:
        raise ValueError("update_codebooks_after_step(model, *optimizers) needs an optimiser, got none")
    return CodebookBinding(model, optimizers)
