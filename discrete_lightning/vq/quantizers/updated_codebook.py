"""When what a codebook collected in its passes is applied: once after each step of the optimiser that it belongs to.

Nothing is registered for the whole process. Hooks are on that optimiser alone: in one process the codebook's own
(`own_steps`), on several ranks those of a binding (`codebook_updates`).
"""

import warnings
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from discrete_lightning.distributed import world_size
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.vq.own_steps import OwnSteps
from discrete_lightning.vq.owning_optimizers import owning_optimizers, trained_leaves
from discrete_lightning.vq.quantizers.code_table import CodeTable
from discrete_lightning.vq.quantizers.code_window import CodeBatch, CodeWindow
from discrete_lightning.vq.reaching import reaching

_FORGOTTEN = 100  # passes that came to nothing, after which something is wrong
_CALL = "call quantizer.update() after each step, or update_codebooks_after_step(model, optimizer) once"


class Binding(Protocol):
    """What calls `update` after the steps of optimisers."""

    optimizers: list[Optimizer]


class UpdatedCodebook(Float32State, PrivateState, CodeTable):
    """A codebook whose codes, or their statistics, are changed after each step of an optimiser, by what passes collected.

    All passes between two steps of the codebook's optimiser count as one batch, which is applied once, after the step. That
    optimiser is the one that holds the codebook's parameter, or else the nearest one before it; no other one matters.

    - In one process the codebook finds that optimiser by itself. On several ranks, and where there is none (vectors of a
      frozen network, and an optimiser without the codebook's parameter), the callback `CodebookUpdates`, which every Lightning
      Trainer has by itself, calls `update()` after the step; a loop of your own calls
      `update_codebooks_after_step(model, optimizer)` once before it. You can also call `update()` yourself after each step. A
      warning says so where it is needed.
    - A pass counts once its backward pass reaches the output. One whose vectors need no gradient counts at once, unless between
      the same steps there is one with a gradient: then it is another network's turn, a discriminator's for instance. A pass
      under `no_grad`, and one that activation checkpointing repeats, does not count.
    - A frozen codebook collects nothing, and what was collected before its freeze and waits for a step is dropped.
    - All ranks join each update, also one whose batch was empty or did not reach the layer.
    - A copy (`copy.deepcopy`) starts with nothing collected and does not act on the original.

    Subclasses define `_apply_window`, `_most_candidates` and `_switch`.

    Attributes:
        updates: how many updates were applied, int64 0-dim.
        collects: whether training passes count; see `protocols.CollectsStatistics`.
        bindings: those that call `update`.
        seen_owners: the optimisers of the bindings that train what a pass of this rank quantised.
    """

    updates: Tensor

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__(num_codes, dim)
        self.register_private("updates", torch.tensor(0, device=real_device()))
        self.collects = True
        # plain attributes: no broadcast, cast or copy of the model's state reaches them
        self.bindings: list[Binding] = []
        self.seen_owners: list[Optimizer] = []
        self._window: CodeWindow | None = None
        self._own_steps: OwnSteps | None = None
        self._was_updated = False
        self._uncounted = 0  # training passes in a row

    def __getstate__(self) -> dict[str, Any]:
        """A copy collects, and is updated, by itself."""
        return {**self.__dict__, "bindings": [], "seen_owners": [], "_window": None, "_own_steps": None}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._window = None  # statistics of other codes
        super()._load_from_state_dict(*args, **kwargs)

    @property
    def is_updated(self) -> bool:
        """Whether passes are collected for it, and bindings update it; equal on all ranks."""
        return True

    @property
    def frozen(self) -> bool:
        return not self._switch().requires_grad

    def _switch(self) -> Tensor:
        """The parameter that needs no gradient where the codebook is frozen."""
        raise NotImplementedError

    def drop_pending(self) -> None:
        """Forgets the passes since the last step."""
        self._window = None

    def bind(self, binding: Binding) -> None:
        """Has a binding call `update`, from the next pass on."""
        self.bindings.append(binding)
        self.drop_pending()
        if self._own_steps is not None:
            self._own_steps.forget()  # those of another run

    def unbind(self, binding: Binding) -> None:
        """Ends that."""
        self.bindings = [each for each in self.bindings if each is not binding]
        self.seen_owners = []
        self.drop_pending()

    def _counting(self, quantized: Tensor, loss: Tensor, batch: CodeBatch) -> tuple[Tensor, Tensor]:
        """The outputs of a pass, from which its backward pass counts `batch`."""
        # new tensors, which belong to this layer; its parameter is used in each pass, as DistributedDataParallel asks
        quantized, loss = (reaching(each, [self._switch()]) for each in (quantized, loss))
        self._look_for_owners(loss)
        self._uncounted += 1
        if self._uncounted == _FORGOTTEN:
            self._warn(f"in {_FORGOTTEN} training passes no gradient has reached its output: its codes are not updated")

        def count(_: Tensor | None) -> None:
            if not (batch.counted or self.frozen):
                batch.counted = True
                self._add(batch)

        # Counting in the backward pass makes a recomputed forward (activation checkpointing) add nothing. The hooks are on the
        # outputs: in a compiled graph the gradient goes from the outputs to the graph's inputs and meets nothing between them.
        if batch.free:
            count(None)
            return quantized, loss
        for each in (quantized, loss):
            if each.requires_grad:
                each.register_hook(count)
        return quantized, loss

    def has_own_steps(self) -> bool:
        """Whether it found its optimiser itself, which no binding may then do for it."""
        return self._own_steps is not None and bool(self._own_steps)

    def _look_for_owners(self, loss: Tensor) -> None:
        if world_size() > 1 and self.bindings:
            _, seen = owning_optimizers(loss, [each for binding in self.bindings for each in binding.optimizers])
            self.seen_owners = seen or self.seen_owners
        elif world_size() == 1:
            if self.bindings and not any(isinstance(each, nn.Parameter) for each in trained_leaves(loss)):
                return
            if self._own_steps is None:
                self._own_steps = OwnSteps(self)
            self._own_steps.look(loss, self._window.passes if self._window else 0)

    def _add(self, batch: CodeBatch) -> None:
        self._uncounted = 0
        if self._window is None or (self._window.batch.free and not batch.free):
            self._window = CodeWindow(batch, self._most_candidates())
            return
        if batch.free and not self._window.batch.free:
            return
        self._window.add(batch)
        passes = self._window.passes
        is_expected = bool(self.bindings) or self._was_updated or self.has_own_steps()
        if is_expected and passes == _FORGOTTEN:
            self._warn(f"it collected {_FORGOTTEN} passes without an update: its codes are not updated; {_CALL}")
        elif not is_expected and passes == 2:
            if (processes := world_size()) > 1:
                self._warn(
                    f"on {processes} ranks its codes are not updated until all ranks do it together: call "
                    "update_codebooks_after_step(model, optimizer) once before the loop, or in Lightning give the Trainer the "
                    "callback CodebookUpdates()"
                )
            else:
                self._warn(f"no optimiser trains what it quantises: its codes are not updated; {_CALL}")

    def _warn(self, what: str) -> None:
        warnings.warn(f"{type(self).__name__}: {what}", stacklevel=2)

    def update(self) -> None:
        """Applies what was collected since the last update to the codes; nothing if nothing was, or if it is frozen.

        It communicates: all ranks call it together, whether or not they collected something.
        """
        window, self._window, self._was_updated = self._window, None, True
        if self.frozen or not self.is_updated:
            return
        if window is not None or world_size() > 1:
            self._apply_window(window)
        if self._own_steps is not None:
            self._own_steps.stepped(window.passes if window else 0)  # last: codes that are parameters have changed

    def _apply_window(self, window: CodeWindow | None) -> None:
        """Applies a window, that of this rank; all ranks call it together. None: this rank collected nothing."""
        raise NotImplementedError

    def _most_candidates(self) -> int:
        """How many vectors a window keeps."""
        raise NotImplementedError
