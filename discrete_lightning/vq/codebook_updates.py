"""Binds codebooks to the optimiser that trains what they quantise, so that all ranks join every update.

In one process a codebook finds its optimiser itself (`own_steps`), if it trains anything before the codebook. Ranks must agree
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
from discrete_lightning.vq.quantizers.updated_codebook import UpdatedCodebook


class CodebookBinding:
    """The binding that `update_codebooks_after_step` makes; `remove()` ends it."""

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self.codebooks = [each for each in model.modules() if isinstance(each, UpdatedCodebook) and each.is_updated]
        self.optimizers = list(optimizers)
        only = {0} if len(self.optimizers) == 1 else set()
        self._owners = [set(only) for _ in self.codebooks]  # positions among the optimisers
        for codebook in self.codebooks:
            codebook.bind(self)
        self._handles: list[RemovableHandle] = []
        for number, optimizer in enumerate(self.optimizers if self.codebooks else []):
            self._handles.append(optimizer.register_step_post_hook(partial(self._after_step, number)))

    @torch.compiler.disable
    def _after_step(self, number: int, *_: Any) -> None:
        """Updates the codebooks that the optimiser of this number owns. Collective."""
        self._find_owners()
        for codebook, owners in zip(self.codebooks, self._owners, strict=True):
            if number in (owners or {0}) and not codebook.has_own_steps():  # the first, as long as nobody owns it
                codebook.update()

    def _find_owners(self) -> None:
        """The optimisers that train the nearest parameter before a codebook, as any rank has seen them."""
        unknown = [
            index for index, owners in enumerate(self._owners) if not owners and not self.codebooks[index].frozen
        ]
        if not unknown:
            return
        here = [[each in self.codebooks[index].seen_owners for each in self.optimizers] for index in unknown]
        seen = all_gather_equal(torch.tensor(here, device=self.codebooks[0].updates.device).float()).amax(0).tolist()
        for index, owners in zip(unknown, seen, strict=True):
            self._owners[index] = {number for number, is_owner in enumerate(owners) if is_owner}

    def remove(self) -> None:
        """Ends the binding: the optimisers' steps no longer update these codebooks. What has no step yet is dropped."""
        for handle in self._handles:
            handle.remove()
        for codebook in self.codebooks:
            codebook.unbind(self)
        self._handles, self.codebooks, self._owners = [], [], []


def update_codebooks_after_step(model: nn.Module, *optimizers: Optimizer) -> CodebookBinding:
    """Has the codebooks of a model updated after each step of their optimiser, on all ranks together.

    Needed in a training loop of your own on several ranks, once before the loop. In Lightning the callback
    `CodebookUpdates` does it; in one process codebooks find their optimiser themselves, unless nothing before them is trained.

    With several optimisers a codebook belongs to those that train the nearest parameter before it: a discriminator's steps do
    not count. If none is seen to, it belongs to the first. FSDP with `use_orig_params`, and FSDP2, hide which parameter it is:
    there the codebook's optimiser is given first.

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
