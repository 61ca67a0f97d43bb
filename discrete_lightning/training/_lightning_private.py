"""Everything that the package takes from Lightning's private interface, in one place; tests/test_private_interfaces.py checks
it.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.fabric.utilities.cloud_io import _load
from lightning.pytorch import Trainer
from lightning.pytorch.cli import _InstantiatorFn as LightningInstantiator
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.utilities.model_helpers import _restricted_classmethod as class_only_method
from torch.utils.data import DataLoader, DistributedSampler

__all__ = [
    "LightningInstantiator",
    "batches_begun",
    "call_between_batches",
    "change_hparams",
    "class_of_config",
    "class_only_method",
    "end_children",
    "end_observer",
    "hear_errors_of_child",
    "is_between_steps",
    "patience",
    "read_values",
    "rewind_batches",
    "rows_of_batch",
]


def class_of_config() -> dict[str, Any]:
    """What LightningCLI looks for among the hyper-parameters in a checkpoint of a model whose class its config names."""
    given = _given_hyperparameters.get() or {}
    return {key: value for key, value in given.items() if key == "_class_path"}


def read_values(checkpoint: Any, weights_only: bool) -> dict[str, Any]:
    """What a checkpoint (a path, URL or file object) holds beside tensors, which have no values here and are not read."""
    start = checkpoint.tell() if hasattr(checkpoint, "tell") else None
    values: dict[str, Any] = _load(checkpoint, map_location="meta", weights_only=weights_only)
    if start is not None:
        checkpoint.seek(start)
    return values


def change_hparams(module: Any, change: Callable[[Any], Any]) -> None:
    """Puts `change(hparams)` in the place of the hyper-parameters of a model or data module, for loggers and checkpoints."""
    for name in ("_hparams", "_hparams_initial"):
        kept = getattr(module, name, None)
        if isinstance(kept, dict):
            kept.update(change(dict(kept)))


def batches_begun(trainer: Trainer) -> int:
    """Number of training batches of this epoch that the loop has fetched, the current one included; restored on resuming."""
    return trainer.fit_loop.epoch_loop.batch_progress.current.ready


def rows_of_batch(trainer: Trainer, loader: int, batch: int) -> list[int] | None:
    """The numbers, in the data set, of the examples of a batch to predict; None where the data have none."""
    combined = trainer.predict_loop._combined_loader
    data = None if combined is None else combined.flattened[loader]
    if not isinstance(data, DataLoader):
        return None
    if data.batch_sampler is None and isinstance(data.sampler, DistributedSampler):  # batch_size=None
        return [batch * data.sampler.num_replicas + data.sampler.rank]
    seen: list[list[int]] = getattr(data.batch_sampler, "seen_batch_indices", [])
    numbers = seen[batch] if batch < len(seen) else None
    return numbers if numbers and all(isinstance(number, int) for number in numbers) else None


def rewind_batches(checkpoint: dict[str, Any], first: int) -> None:
    """Sets the batch counters in a checkpoint back to the start of batch `first` of the epoch."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    undone = progress["current"]["completed"] - first
    total = progress["total"]["completed"] - undone
    for name in ("ready", "started", "processed", "completed"):
        progress["current"][name], progress["total"][name] = first, total


def call_between_batches(trainer: Trainer, function: Callable[[Trainer], None] | None) -> None:
    """Has `function` called before each batch of training is fetched, on all ranks alike; None ends that.

    There everything about the batch before is done: its step, its validation, what is logged and all counters. Lightning has a
    broadcast there, which tells all ranks whether rank 0 got SIGTERM; it is left out. The first batch after a resume is not
    preceded by a call: Lightning goes through the end of the one before again.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    for name in ("advance", "_broadcast_sigterm_tensor"):
        loop.__dict__.pop(name, None)
    if function is None:
        return
    advance = loop.advance

    def ask_and_advance(data_fetcher: Any) -> None:
        if not loop.restarting:
            function(trainer)
        advance(data_fetcher)

    loop.advance, loop._broadcast_sigterm_tensor = ask_and_advance, lambda: None


def is_between_steps(trainer: Trainer) -> bool:
    """Whether no gradients wait for more batches (`accumulate_grad_batches`), asked between batches."""
    ready = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return ready % trainer.accumulate_grad_batches == 0


def hear_errors_of_child(trainer: Trainer, function: Callable[[BaseException], None]) -> None:
    """Has `function` told of errors of this process of `ddp_spawn` or `ddp_fork`, where callbacks are not."""
    run_stage: Any = trainer._run_stage

    def run_and_tell() -> Any:
        try:
            return run_stage()
        except Exception as error:
            function(error)
            raise

    trainer._run_stage = run_and_tell  # type: ignore[method-assign]


def end_observer() -> None:
    """Ends the thread by which Lightning's `ddp` kills all processes once one of them has ended with an error."""
    for thread in threading.enumerate():
        if isinstance(thread, _ChildProcessObserver):
            thread._run = lambda: True  # type: ignore[method-assign]


def end_children(trainer: Trainer, seconds: float) -> None:
    """Ends the processes that Lightning's `ddp` has started, where they do not end by themselves in so many seconds."""
    end = time.monotonic() + seconds
    for process in getattr(trainer.strategy.launcher, "procs", []):
        if isinstance(process, subprocess.Popen):
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def patience(strategy: Any) -> str:
    """How long ranks wait for each other when they connect, in words."""
    return (
        f"{strategy._timeout.total_seconds() / 60:.0f} minutes"
        if getattr(strategy, "_timeout", None)
        else "some minutes"
    )
