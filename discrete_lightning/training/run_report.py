"""What is printed at the end of a run: what the module logged, the time, and the files."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DistributedSampler

from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.training.checkpoints import checkpoints_of_run
from discrete_lightning.training.launch_record import launch_of
from discrete_lightning.training.run_folder import is_first_process, run_files
from discrete_lightning.training.stop_signals import EXIT_CODES

_WIDE = 1000  # columns, more than any table of metrics has


def print_metrics(results: Sequence[Mapping[str, float]]) -> None:
    """A table titled "result" of everything the module logged, if it logged anything.

    On a terminal that is too narrow for it: one a line.
    """
    metrics = {name: value for result in results for name, value in result.items()}
    if not metrics:
        return
    table = Table(title="result")
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}")
    console = Console()
    if console.measure(table, options=console.options.update(max_width=_WIDE)).maximum <= console.width:
        console.print(table)
        return
    for name, value in metrics.items():  # a table would cut the names
        print(f"{name} {value:.6g}")


def print_repeated(trainer: Trainer, stage: str) -> None:
    """A line for each loader whose examples do not divide among the ranks: Lightning's sampler counts some of them twice.

    Args:
        trainer: after `stage`.
        stage: "val", "test" or "predict".
    """
    loaders = getattr(trainer, f"{stage}_dataloaders")
    for loader in loaders if isinstance(loaders, list) else [loaders]:
        if (
            isinstance(getattr(loader, "sampler", None), DistributedSampler)
            and len(loader.dataset) % trainer.world_size
        ):
            count, twice = len(loader.dataset), -len(loader.dataset) % trainer.world_size
            print(
                f"note: {twice} of {count:,} examples counted twice, to divide them among {trainer.world_size} processes"
            )


def print_run(folder: Path | None, seconds: float) -> None:
    """The wall time, then the run's folder and the files in it, one a line."""
    minutes, rest = divmod(seconds, 60)
    print(f"time: {int(minutes)} min {rest:.0f} s" if minutes else f"time: {rest:.1f} s")
    if folder is None:
        print("fast_dev_run: nothing was written")
        return
    print(f"run: {folder}")
    for name in run_files(folder):
        print(f"  {name}")


def print_attempt(folder: Path, is_restarted: bool, checkpoint: Path | None) -> None:
    """Says, where a launcher has started the command again, from what it goes on."""
    number = launch_of(os.environ).attempt + 1
    if number == 1 or not is_first_process():
        return
    if checkpoint is not None:
        said = f"goes on in {folder} from {checkpoint.name}"
    else:
        where = f"{folder} has no checkpoint" if is_restarted else "no folder of an earlier attempt was found"
        said = f"{where}: starts from the beginning"
    print(f"note: attempt {number}: {said}", file=sys.stderr)


def print_untrained(trainer: Trainer, is_resumed: bool) -> None:
    """Says that a fit ended without a training step, and why, in words of its config."""
    limit = "max_epochs" if trainer.max_steps < 0 else "max_steps"
    zero = [name for name in ("max_epochs", "max_steps", "limit_train_batches") if getattr(trainer, name) == 0]
    if zero:
        reason = f"trainer.{zero[0]} is 0"
    elif is_resumed:
        reason = f"the checkpoint has reached trainer.{limit} ({getattr(trainer, limit)}): raise it to train on"
    else:
        reason = "the training set has no batches"
    print(f"note: nothing was trained: {reason}", file=sys.stderr)


def print_interruption(folder: Path | None, checkpoint: Path | None, trusted: Sequence[str], code: int) -> None:
    """Says where the weights of an interrupted run are, and the command that goes on."""
    signals = [signal.Signals(number).name for number, each in EXIT_CODES.items() if each == code]
    by = "" if signals in ([], ["SIGINT"]) else f" by {signals[0]} (exit code {code})"
    print(f"interrupted{by}; {how_to_resume(folder, checkpoint, trusted)}", file=sys.stderr)


def how_to_resume(folder: Path | None, checkpoint: Path | None, trusted: Sequence[str]) -> str:
    """Where the weights of a run are that did not come to its end, and the command that goes on."""
    if checkpoint is None or not checkpoint.exists():
        return "there is no checkpoint to resume from"
    return f"the weights are in {checkpoint}; resume with: {_resume(folder, trusted)}"


def what_is_left(folder: Path | None, trusted: Sequence[str]) -> str:
    """What to add to the error of a file that could not be written, where a checkpoint is there to go on from."""
    left = [] if folder is None else checkpoints_of_run(folder)
    return f"; {left[0].name} is whole: make room, then go on with: {_resume(folder, trusted)}" if left else ""


def _resume(folder: Path | None, trusted: Sequence[str]) -> str:
    trust = "".join(f" --trust {prefix}" for prefix in trusted)
    return f"discrete-lightning fit -c {folder}{trust} --ckpt_path last"


def temperatures(model: nn.Module) -> dict[str, float]:
    """The final temperature, or those of several layers by name."""
    found = {name: float(each().detach()) for name, each in model.named_modules() if isinstance(each, Temperature)}
    if found and len(set(found.values())) == 1:
        return {"temperature": found.popitem()[1]}
    return {f"temperature/{name}": tau for name, tau in found.items()}
