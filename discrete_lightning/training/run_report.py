"""What is printed at the end of a run: what the module logged, the time, and the files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import nn

from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.training.run_folder import run_files


def print_metrics(results: Sequence[Mapping[str, float]]) -> None:
    """A table titled "result" of everything the module logged, if it logged anything."""
    metrics = {name: value for result in results for name, value in result.items()}
    if not metrics:
        return
    table = Table(title="result")
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    for name, value in metrics.items():
        table.add_row(name, f"{value:.6g}")
    Console().print(table)


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
