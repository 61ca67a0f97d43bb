"""When what a codebook collected in its passes is applied: once after each step of the optimiser that it belongs to.

Nothing outside of the codebook is registered anywhere: it watches the parameter nearest before it (`step_watch`), or a binding
of that optimiser calls `update()` (`codebook_updates`).
"""

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from discrete_lightning.distributed import world_size
from discrete_lightning.functional._torch_private import in_backward
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.vq.quantizers.code_table import CodeTable
from discrete_lightning.vq.quantizers.code_window import CodeBatch, CodeWindow
from discrete_lightning.vq.reaching import reaching
from discrete_lightning.vq.step_watch import StepWatch, nearest_leaf

_FORGOTTEN = 100  # passes that came to nothing, after which something is wrong


class UpdatedCodebook(Float32State, PrivateState, CodeTable):
    """A codebook whose codes, or their statistics, are changed after each step of an optimiser, by what passes collected.

    All passes between two steps of the codebook's optimiser count as one batch, which is applied once, after the step. That
    optimiser is the one that trains the nearest parameter before the codebook; no other one matters.

    - In one process the codebook sees the step by itself, from that parameter. In Lightning the callback `CodebookUpdates`,
      which is there by itself, calls `update()` after the step on any number of ranks. A loop of your own on several ranks
      calls `update_codebooks_after_step(model, optimizer)` once before it. Where no parameter that is trained comes before
      the codebook (vectors of a frozen network), so does a loop in one process. You can also call `update()` yourself after
      each step. A warning says so where it is needed.
    - A pass counts once its backward pass reaches the output, or at once if the vectors need no gradient. A pass under
      `no_grad`, and one that activation checkpointing repeats, does not count.
    - A frozen codebook collects nothing, and what was collected before its freeze and waits for a step is dropped.
    - All ranks join each update, also one whose batch was empty or did not reach the layer.
    - A copy (`copy.deepcopy`) starts with nothing collected and does not act on the original.

    Subclasses define `_apply_window`, `_most_candidates` and `_switch`.

    Attributes:
        windows: what was collected and not applied yet, each up to a step.
        bound: how many bindings call `update()`.
        settled_when_read: names of the state that an update changes.
    """

    settled_when_read: ClassVar[tuple[str, ...]] = ("codes", "counts", "sums")

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__(num_codes, dim)
        self.register_private("updates", torch.tensor(0, device=real_device()))
        # plain attributes: no broadcast, cast or copy of the model's state reaches them
        self.windows: list[CodeWindow] = []
        self.bound = 0
        self._is_served = False  # whether `update` was called
        self._may_be_fused = True  # the optimiser, so that a step counts up no version
        self._unreached = 0  # passes in a row whose output no backward pass has reached
        self._has_warned = False

    @property
    def updates(self) -> Tensor:
        """How many updates were applied, int64 0-dim."""
        self._settle()
        return self._updates

    @updates.setter
    def updates(self, value: Tensor) -> None:
        self._updates = value

    @property
    def frozen(self) -> bool:
        return not self._switch().requires_grad

    def _switch(self) -> Tensor:
        """The parameter that needs no gradient where the codebook is frozen."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        # what is read after a step holds that step's update
        if name in type(self).settled_when_read and not torch.compiler.is_compiling():
            self._settle()
        return super().__getattr__(name)

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        return {**self.__dict__, "windows": [], "bound": 0}

    def train(self, mode: bool = True) -> Self:
        self._settle()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._settle()
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, *args: Any) -> None:
        self._settle()
        super()._save_to_state_dict(*args)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.windows.clear()  # statistics of other codes
        super()._load_from_state_dict(*args, **kwargs)

    def _counting(self, quantized: Tensor, loss: Tensor, vectors: Tensor, batch: CodeBatch) -> tuple[Tensor, Tensor]:
        """The outputs of a pass over `vectors`, from which its backward pass counts `batch`."""
        leaf = self._watched(vectors)

        def count(_: Tensor | None) -> None:
            if not (batch.counted or self.frozen):
                batch.counted, self._unreached = True, 0
                self._add(batch, leaf)

        # Counting in the backward pass makes a recomputed forward (activation checkpointing) add nothing. The hooks are on the
        # outputs: in a compiled graph the gradient goes from the outputs to the graph's inputs and meets nothing between them.
        # new tensors, which belong to this layer; its parameter is used in each pass, as DistributedDataParallel asks
        outputs = reaching(quantized, [self._switch()]), reaching(loss, [self._switch()])
        if not vectors.requires_grad:
            count(None)
            return outputs
        self._unreached += 1
        if self._unreached == _FORGOTTEN and not self._has_warned:
            self._warn(f"in {_FORGOTTEN} training passes no gradient has reached its output: its codes are not updated")
        for each in outputs:
            if each.requires_grad:
                each.register_hook(count)
        return outputs

    def _watched(self, vectors: Tensor) -> Tensor | None:
        """What the codebook's optimiser trains."""
        return nearest_leaf(vectors)

    def _add(self, batch: CodeBatch, leaf: Tensor | None) -> None:
        watch = None if leaf is None else StepWatch(leaf, self._may_be_fused)
        last = self.windows[-1] if self.windows else None
        if last is None or (self._sees_steps() and last.over()):
            self.windows.append(CodeWindow(batch, watch, self._most_candidates()))
            return
        last.add(batch)
        if self._is_served or self.bound or self._has_warned:
            return
        processes = world_size()
        if processes > 1:
            if last.passes == 2:
                self._warn(
                    f"on {processes} ranks its codes are not updated until all ranks do it together: call "
                    "update_codebooks_after_step(model, optimizer) once before the loop (in Lightning the callback "
                    "CodebookUpdates does it)"
                )
        elif last.passes == 2 and not last.watches(leaf):
            self._warn(
                "nothing that is trained comes before it, so it cannot see the optimiser's steps: its codes are not updated; "
                "call quantizer.update() after each step, or update_codebooks_after_step(model, optimizer) once"
            )
        elif last.passes == _FORGOTTEN:
            self._warn(
                f"it collected {_FORGOTTEN} passes and saw no step of the optimiser: its codes are not updated; call "
                "quantizer.update() after each step, or update_codebooks_after_step(model, optimizer) once"
            )

    def _warn(self, what: str) -> None:
        self._has_warned = True
        warnings.warn(f"{type(self).__name__}: {what}", stacklevel=2)

    def _sees_steps(self) -> bool:
        return not self.bound and world_size() == 1

    def _settle(self) -> None:
        """Applies the windows that are over, in one process: several ranks must agree when to communicate."""
        windows = self.__dict__.get("windows")  # there is none before the constructor is done
        if not windows or in_backward() or not self._sees_steps():
            return
        while windows and windows[0].over():
            window = windows.pop(0)
            if window.watch is not None and window.watch.counted():
                self._may_be_fused = False
            self._apply_window(window)
        if windows and self.frozen:
            windows.clear()

    def update(self) -> None:
        """Applies what was collected since the last update to the codes; nothing if nothing was, or if it is frozen.

        It communicates: all ranks call it together, whether or not they collected something.
        """
        self._is_served = True
        windows, self.windows = self.windows, []
        if self.frozen:
            return
        for window in windows if world_size() == 1 else [CodeWindow.merged(windows)]:
            self._apply_window(window)

    def _apply_window(self, window: CodeWindow | None) -> None:
        """Applies a window, that of this rank; all ranks call it together. None: this rank collected nothing."""
        raise NotImplementedError

    def _most_candidates(self) -> int:
        """How many vectors a window keeps."""
        raise NotImplementedError
