"""What is printed at the end of a run: what the module logged, the time, and the files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DistributedSampler

from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.training.run_folder import run_files

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


def temperatures(model: nn.Module) -> dict[str, float]:
    """The final temperature, or those of several layers by name."""
    found = {name: float(each().detach()) for name, each in model.named_modules() if isinstance(each, Temperature)}
    if found and len(set(found.values())) == 1:
        return {"temperature": found.popitem()[1]}
    return {f"temperature/{name}": tau for name, tau in found.items()}
