"""Loaders that have more batches on one rank than on another: all ranks stop where the first of them has no more.

A rank that goes on alone waits in its next collective operation for ranks that never join, or mixes its sums with those of
another operation. How many batches there are is agreed when the loaders are made; where they have no length, after each
batch. This is the private part of it, as `_lightning_private` is.
"""

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher


def stop_together(trainer: Trainer) -> None:
    """Has the loops of training, validation and test end on all ranks together. Called on all ranks, before loaders are made.

    Says in one line, on rank 0, how many batches each loop stops after, where the ranks differ.
    """
    fit = trainer.fit_loop
    _follow(fit, "setup_data", lambda: _agree_training(trainer))
    for loop in (fit.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop):
        _follow(loop, "setup_data", lambda each=loop: _agree_evaluation(trainer, each))  # type: ignore[misc]
        _follow(loop, "reset", lambda each=loop: _share_end(trainer, each, "evaluation"))  # type: ignore[misc]


def _follow(loop: Any, name: str, function: Callable[[], None]) -> None:
    present = getattr(loop, name)
    original = getattr(present, "followed", present)  # of an earlier run

    def both() -> None:
        original()
        function()

    both.followed = original  # type: ignore[attr-defined]
    setattr(loop, name, both)


def _agree_training(trainer: Trainer) -> None:
    loop: Any = trainer.fit_loop
    if loop._combined_loader is None or getattr(loop, "_agreed", None) is loop._combined_loader:
        return
    loop._agreed = loop._combined_loader
    (least,) = _least(trainer, [loop.max_batches], "training")
    _share_end(trainer, loop, "training")
    if least == loop.max_batches:
        return
    loop.max_batches = loop._data_fetcher.length = least
    loop._data_fetcher.done = least == 0
    loop._combined_loader.limits = [min(each, least) for each in loop._combined_loader.limits]
    if isinstance(trainer.val_check_interval, float) and trainer.val_check_batch is not None:
        trainer.val_check_batch = max(1, int(least * trainer.val_check_interval))


def _agree_evaluation(trainer: Trainer, loop: Any) -> None:
    if loop._combined_loader is not None and getattr(loop, "_agreed", None) is not loop._combined_loader:
        loop._agreed = loop._combined_loader
        loop._max_batches = _least(trainer, loop._max_batches, "evaluation")


def _least(trainer: Trainer, own: list[float], what: str) -> list[Any]:
    """The least number of batches of all ranks, for each loader; infinite where none has a length."""
    least, most = _extremes(trainer, own)
    for low, high in zip(least, most, strict=True):
        if low < high and trainer.is_global_zero:
            longest = "more" if math.isinf(high) else f"{high:.0f}"
            print(
                f"note: the ranks have {low:.0f} to {longest} batches of {what}: all stop after {low:.0f}",
                file=sys.stderr,
            )
    return [low if math.isinf(low) else int(low) for low in least]


def _extremes(trainer: Trainer, own: list[float]) -> tuple[list[float], list[float]]:
    both = torch.tensor([*own, *(-each for each in own)], dtype=torch.float32, device=trainer.strategy.root_device)
    dist.all_reduce(both, dist.ReduceOp.MIN)
    values = both.tolist()
    return values[: len(own)], [-each for each in values[len(own) :]]


def _share_end(trainer: Trainer, loop: Any, what: str) -> None:
    fetcher = loop._data_fetcher
    if type(fetcher) is _PrefetchDataFetcher and fetcher.length is None:
        fetcher.__class__ = _SharedEnd
        fetcher.__dict__.update(_trainer=trainer, _what=what, _is_said=False)


class _SharedEnd(_PrefetchDataFetcher):
    """Ends on all ranks together; batches that one rank has beyond are left."""

    _trainer: Trainer
    _what: str
    _is_said: bool

    def __next__(self) -> Any:
        item: Any = None
        with suppress(StopIteration):
            item = super().__next__()
        own = [float(item is None), float(self.done)]
        least, most = _extremes(self._trainer, own)
        if least != most and not self._is_said:
            self._is_said = True
            if self._trainer.is_global_zero:
                after = self.fetched - len(self.batches) - int(most[0])
                what = self._what
                print(f"note: a rank has no more batches of {what}: all stop after about {after}", file=sys.stderr)
        self.done = bool(most[1])
        if most[0]:
            raise StopIteration
        return item
