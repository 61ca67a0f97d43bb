"""Layers that count choices in training passes, for an update after the step of their optimiser (see `layers.updated_layer`).

A pass counts when its backward pass reaches the choices: a forward pass that activation checkpointing repeats adds nothing. Two
operators of torch do it, so that torch.compile keeps the graph whole; they find their layer by a number.
"""

import itertools
from typing import Any, Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum
from discrete_lightning.functional._torch_private import under_functorch
from discrete_lightning.layers.updated_layer import UpdatedLayer


class CountWindow:
    """The counts of all passes between two steps, on one rank.

    Args:
        counts: of the first pass, float32.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts, self.passes = counts.clone(), 1

    @property
    def free(self) -> bool:
        """Whether these needed no gradient: they do."""
        return False

    def add(self, batch: Tensor) -> None:
        """Adds a pass, in place."""
        self.counts, self.passes = self.counts + batch, self.passes + 1

    def state(self) -> dict[str, Any]:
        """What it holds."""
        return {"counts": self.counts, "passes": self.passes}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> Self:
        """The window of a `state`."""
        window = cls(state["counts"].to(device))
        window.passes = state["passes"]
        return window


class CountedLayer(UpdatedLayer):
    """A layer with a parameter `weight` whose choices are counted, and applied once after each step of its optimiser.

    Subclasses define `_number_of_counts` and `_apply_counts`.
    """

    window_type = CountWindow
    weight: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._register()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._register()

    def _register(self) -> Self:
        # on the host, a tensor and no number: a compiled graph of one layer then serves the others
        self._key = torch.tensor(next(_numbers), device="cpu")
        self._begun = 0
        self._counted: set[int] = set()
        _layers[int(self._key)] = self
        return self

    def _switch(self) -> Tensor:
        return self.weight

    def drop_pending(self) -> None:
        super().drop_pending()
        self._counted = set()

    @property
    def is_learning(self) -> bool:
        """Whether a pass is one that training counts."""
        if not (self.training and torch.is_grad_enabled() and self.collects and self.is_updated) or self.frozen:
            return False
        if not torch.compiler.is_compiling() and under_functorch():
            raise RuntimeError(
                f"{type(self).__name__} counts the choices of a training pass, which torch.func (vmap, grad) cannot: call it "
                "in eval(), or freeze its parameters"
            )
        return True

    def counting(self, gates: Tensor, counts: Tensor) -> Tensor:
        """`gates`, whose backward pass counts `counts` once."""
        if not gates.requires_grad:
            return gates
        counts = counts.detach().float()
        number = torch.ops.discrete_lightning.begin_pass(counts, self._key)
        return _Counting.apply(gates, counts, number, self._key)

    def pending_counts(self) -> Tensor | None:
        """What was counted since the last step, on this rank."""
        return None if self._window is None else self._window.counts

    def _begin(self) -> int:
        self._begun += 1
        self._began_pass()
        return self._begun

    def _count(self, counts: Tensor, number: int) -> None:
        if number in self._counted or self.frozen:  # a second backward pass of the same graph
            return
        self._counted.add(number)
        self._look_for_owners(self.weight)
        self._add(counts)

    def update(self) -> None:
        self._counted = set()
        super().update()

    def _new_window(self, batch: Tensor) -> CountWindow:
        return CountWindow(batch)

    def _number_of_counts(self) -> int:
        raise NotImplementedError

    @torch.no_grad()
    def _apply_window(self, window: CountWindow | None) -> None:
        counts = torch.zeros(self._number_of_counts(), device=self.weight.device) if window is None else window.counts
        counts = all_reduce_sum(counts)
        self._apply_counts(counts)
        self.updates += counts.sum() > 0

    def _apply_counts(self, counts: Tensor) -> None:
        """Applies the counts of all ranks since the last step, float32."""
        raise NotImplementedError


_numbers = itertools.count()
_layers: WeakValueDictionary[int, CountedLayer] = WeakValueDictionary()


@torch.library.custom_op("discrete_lightning::begin_pass", mutates_args=())
def _begin_pass(counts: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
    layer = _layers.get(int(key))
    return torch.tensor(0 if layer is None else layer._begin(), device="cpu")


@_begin_pass.register_fake
def _(counts: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
    return torch.empty((), dtype=torch.int64, device="cpu")


@torch.library.custom_op("discrete_lightning::count_pass", mutates_args=())
def _count_pass(gradient: Tensor, counts: Tensor, number: Tensor, key: Tensor) -> Tensor:
    if (layer := _layers.get(int(key))) is not None:
        layer._count(counts, int(number))
    return gradient.clone()


@_count_pass.register_fake
def _(gradient: Tensor, counts: Tensor, number: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
    return torch.empty_like(gradient)


class _Counting(torch.autograd.Function):
    @staticmethod
    def forward(gates: Tensor, counts: Tensor, number: Tensor, key: Tensor) -> Tensor:
        return gates.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        counts, number, key = ctx.saved_tensors
        return torch.ops.discrete_lightning.count_pass(grad_outputs[0], counts, number, key), None, None, None
