"""When what a layer collected in its passes is applied: once after each step of the optimiser that it belongs to.

Nothing is registered for the whole process. Hooks are on that optimiser alone: in one process the layer's own
(`own_steps`), on several ranks those of a binding (`step_updates`).
"""

import warnings
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from discrete_lightning.distributed import world_size
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.own_steps import OwnSteps
from discrete_lightning.layers.owning_optimizers import owning_optimizers, trained_leaves
from discrete_lightning.layers.private_state import PrivateState

_FORGOTTEN = 100  # passes that came to nothing, after which something is wrong


class Binding(Protocol):
    """What calls `update` after the steps of optimisers."""

    optimizers: list[Optimizer]


class Window(Protocol):
    """What a layer collected between two steps; `add` takes one more pass.

    Attributes:
        passes: how many passes it holds.
    """

    passes: int

    @property
    def free(self) -> bool:
        """Whether these needed no gradient."""

    def add(self, batch: Any) -> None:
        """Adds a pass, in place."""

    def state(self) -> dict[str, Any]:
        """What it holds, as plain values and tensors."""

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> Self:
        """The window of a `state`."""


class UpdatedLayer(Float32State, PrivateState):
    """A layer whose state is changed after each step of an optimiser, by what its training passes collected.

    All passes between two steps of the layer's optimiser count as one batch, which is applied once, after the step. That
    optimiser is the one that holds the layer's parameter, or else the nearest one before it; no other one matters.

    Subclasses define `_new_window`, `_apply_window` and `_switch`, and call `_look_for_owners` and `_add`.

    Attributes:
        window_type: of what is collected.
        updates: how many updates were applied, int64 0-dim.
        collects: whether training passes count; see `protocols.CollectsStatistics`.
        bindings: those that call `update`.
        seen_owners: the optimisers of the bindings that train what a pass of this rank used.
        updated_state: what is updated, in warnings.
        trained_before: what an optimiser trains, in warnings.
        update_calls: what to call where nobody updates the layer: in one process, on several ranks.
    """

    updates: Tensor
    window_type: ClassVar[type[Window]]
    updated_state: ClassVar[str] = "state is"
    trained_before: ClassVar[str] = "what it computes from"
    update_calls: ClassVar[tuple[str, str]] = (
        "call layer.update() after each step, or update_after_step(model, optimizer) once",
        "call update_after_step(model, optimizer) once before the loop, or in Lightning give the Trainer the callback "
        "StepUpdates()",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_private("updates", torch.tensor(0, device=real_device()))
        self.collects = True
        # plain attributes: no broadcast, cast or copy of the model's state reaches them
        self.bindings: list[Binding] = []
        self.seen_owners: list[Optimizer] = []
        self._window: Any = None
        self._own_steps: OwnSteps | None = None
        self._was_updated = False
        self._uncounted = 0  # training passes in a row

    def __getstate__(self) -> dict[str, Any]:
        """A copy collects, and is updated, by itself."""
        return {**self.__dict__, "bindings": [], "seen_owners": [], "_window": None, "_own_steps": None}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._window = None  # statistics of another state
        super()._load_from_state_dict(*args, **kwargs)

    @property
    def is_updated(self) -> bool:
        """Whether passes are collected for it, and bindings update it; equal on all ranks."""
        return True

    @property
    def frozen(self) -> bool:
        return not self._switch().requires_grad

    def _switch(self) -> Tensor:
        """The parameter that needs no gradient where the layer is frozen."""
        raise NotImplementedError

    def drop_pending(self) -> None:
        """Forgets the passes since the last step."""
        self._window = None

    def pending(self) -> dict[str, Any] | None:
        """What was collected since the last step, as plain values and tensors; None if nothing was."""
        return None if self._window is None else self._window.state()

    def set_pending(self, state: dict[str, Any]) -> None:
        """Restores `pending`, after whatever binds the layer to optimisers."""
        self._window = self.window_type.of(state, self.updates.device)

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

    def has_own_steps(self) -> bool:
        """Whether it found its optimiser itself, which no binding may then do for it."""
        return self._own_steps is not None and bool(self._own_steps)

    def _look_for_owners(self, result: Tensor) -> None:
        """Finds the optimisers that train what `result` was computed from, or `result` itself if it is a parameter."""
        if world_size() > 1 and self.bindings:
            _, seen = owning_optimizers(result, [each for binding in self.bindings for each in binding.optimizers])
            self.seen_owners = seen or self.seen_owners
        elif world_size() == 1:
            if self.bindings and not any(isinstance(each, nn.Parameter) for each in trained_leaves(result)):
                return
            if self._own_steps is None:
                self._own_steps = OwnSteps(self)
            self._own_steps.look(result, self._window.passes if self._window else 0)

    def _began_pass(self) -> None:
        """Notes a training pass, which has still to be counted."""
        self._uncounted += 1
        if self._uncounted == _FORGOTTEN:
            self._warn(f"in {_FORGOTTEN} training passes no gradient has reached its output: its {self._not_updated}")

    def _add(self, batch: Any, free: bool = False) -> None:
        """Counts a pass; `free`: it needed no gradient."""
        self._uncounted = 0
        if self._window is None or (self._window.free and not free):
            self._window = self._new_window(batch)
            return
        if free and not self._window.free:
            return
        self._window.add(batch)
        passes = self._window.passes
        is_expected = bool(self.bindings) or self._was_updated or self.has_own_steps()
        alone, together = self.update_calls
        if is_expected and passes == _FORGOTTEN:
            self._warn(f"it collected {_FORGOTTEN} passes without an update: its {self._not_updated}; {alone}")
        elif not is_expected and passes == 2:
            if (processes := world_size()) > 1:
                self._warn(f"on {processes} ranks its {self._not_updated} until all ranks do it together: {together}")
            else:
                self._warn(f"no optimiser trains {self.trained_before}: its {self._not_updated}; {alone}")

    @property
    def _not_updated(self) -> str:
        return f"{self.updated_state} not updated"

    def _warn(self, what: str) -> None:
        warnings.warn(f"{type(self).__name__}: {what}", stacklevel=3)

    def update(self) -> None:
        """Applies what was collected since the last update; nothing if nothing was, or if the layer is frozen.

        It communicates: all ranks call it together, whether or not they collected something.
        """
        window, self._window, self._was_updated = self._window, None, True
        if self.frozen or not self.is_updated:
            return
        if window is not None or world_size() > 1:
            self._apply_window(window)
        if self._own_steps is not None:
            self._own_steps.stepped(window.passes if window else 0)  # last: state that is a parameter has changed

    def _new_window(self, batch: Any) -> Window:
        """A window of this pass."""
        raise NotImplementedError

    def _apply_window(self, window: Any) -> None:
        """Applies a window, that of this rank; all ranks call it together. None: this rank collected nothing."""
        raise NotImplementedError
