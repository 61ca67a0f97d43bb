"""Passes through a copy of a module that leave no trace in the run: what measures a training step needs.

The copy shares nothing that a step changes: parameters, buffers, metrics, counters and generators are its own. It logs
nothing, has none of the module's hooks, which count what belongs to the run, and its layers collect no statistics.
Where it optimises by hand, its optimisers do nothing, and its losses are kept.
"""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor

from discrete_lightning.layers.private_state import copy_private_state
from discrete_lightning.protocols import CollectsStatistics
from discrete_lightning.training.module_copy import copy_without_hooks

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def quiet_copy(module: LightningModule, trainer: Trainer) -> LightningModule:
    """A deep copy of `module`, attached to a copy of the trainer that has no logger."""
    copied: LightningModule = copy_without_hooks(module)
    for each in copied.modules():
        if isinstance(each, CollectsStatistics):
            each.collects = False  # no step follows
    copied.trainer = copy.copy(trainer)
    copied.trainer.loggers = [DummyLogger()]
    copied.log = copied.log_dict = _nothing  # type: ignore[method-assign]
    return copied


def losses_of_step(copied: LightningModule, module: LightningModule, batch: Any, batch_idx: int) -> list[Tensor]:
    """The losses of a training step of a quiet copy: one, or none if it skips the batch; with manual optimisation all
    that it gives to `manual_backward`.

    Args:
        copied: from `quiet_copy`.
        module: the original.
        batch: of training.
        batch_idx: its number.
    """
    if copied.automatic_optimization:
        found: Any = copied.training_step(batch, batch_idx)
        loss = found["loss"] if isinstance(found, dict) else found
        return [] if loss is None else [loss.detach()]
    losses: list[Tensor] = []
    optimizers = module.optimizers()
    idle = [_Idle(each) for each in optimizers] if isinstance(optimizers, list) else _Idle(optimizers)
    schedulers = module.lr_schedulers()
    still = [_Idle(each) for each in schedulers] if isinstance(schedulers, list) else schedulers and _Idle(schedulers)
    replaced = {
        "optimizers": lambda *_, **__: idle,
        "lr_schedulers": lambda: still,
        "manual_backward": lambda loss, *_, **__: losses.append(loss.detach()),
        "toggle_optimizer": _nothing,
        "untoggle_optimizer": _nothing,
        "toggled_optimizer": lambda *_, **__: nullcontext(),
        "clip_gradients": _nothing,
    }
    for name, method in replaced.items():
        setattr(copied, name, method)
    copied.training_step(batch, batch_idx)
    return losses


def seed_quietly(seed: int, device: torch.device) -> None:
    """Seeds the default generators of torch (of the CPU and `device`), numpy and Python, in microseconds, not as
    `torch.manual_seed` in milliseconds."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def restart_draws(copied: LightningModule, module: LightningModule) -> None:
    """Gives a copy, after a pass, the private state and the generators that its modules had before it."""
    copy_private_state(module, copied)
    for ours, theirs in zip(copied.modules(), module.modules(), strict=True):
        for name, value in vars(theirs).items():
            if isinstance(value, _GENERATORS):
                vars(ours)[name] = copy.deepcopy(value)


class _Idle:
    """Looks like an optimiser or a scheduler of the run, and changes nothing."""

    def __init__(self, real: Any) -> None:
        self._real = real
        groups = getattr(real, "param_groups", [])
        self.param_groups = [dict(group) for group in groups]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def step(self, closure: Any = None, *_: Any, **__: Any) -> Any:
        return closure() if callable(closure) else None

    def zero_grad(self, *_: Any, **__: Any) -> None:
        pass

    def load_state_dict(self, *_: Any) -> None:
        pass

    @contextmanager
    def toggle_model(self, *_: Any, **__: Any) -> Iterator[None]:
        yield


def _nothing(*_: Any, **__: Any) -> None:
    pass


def first_examples(batch: Any, count: int | None) -> Any:
    """The first `count` examples (None: all) of a batch of tensors, in any nesting of lists, tuples and dicts; a copy.

    Example:
        >>> first_examples({"x": torch.zeros(5, 2), "y": [torch.zeros(5)]}, 3)["y"][0].shape
        torch.Size([3])
    """
    if isinstance(batch, Tensor):
        return batch[:count].clone() if batch.ndim else batch.clone()
    if isinstance(batch, dict):
        return {key: first_examples(value, count) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        parts = [first_examples(part, count) for part in batch]
        if isinstance(batch, list):
            return parts
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    return batch


def holds_tensor(batch: Any) -> bool:
    """Whether a batch has a tensor of examples anywhere in it."""
    if isinstance(batch, dict):
        batch = list(batch.values())
    if isinstance(batch, list | tuple):
        return any(holds_tensor(each) for each in batch)
    return isinstance(batch, Tensor) and batch.ndim > 0
