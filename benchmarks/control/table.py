"""A task's runs as a table: contestants take turns, seed by seed."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.control.judge import Run, median_solved

Contestant = Callable[[int], Run]


def compare(contestants: Mapping[str, Contestant], seeds: Sequence[int], bar: float) -> dict[str, list[Run]]:
    """Runs each contestant once a seed and prints a line a run; then a line a contestant.

    Args:
        contestants: seed to run, by name; the first is ours.
        seeds: of the runs.
        bar: return that the first has to reach.
    """
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    print(f"{'':<34}{'seed':>5}{'return':>10}{'solved at':>12}{'CPU-s':>9}", flush=True)
    for seed in seeds:
        for name, contestant in contestants.items():
            run = contestant(seed)
            runs[name].append(run)
            solved = "never" if run.solved is None else f"{run.solved:,}"
            print(f"{name:<34}{seed:>5}{run.final:>10.3f}{solved:>12}{run.seconds:>9.1f}", flush=True)
    first = next(iter(runs.values()))
    for name, each in runs.items():
        returns = [run.final for run in each]
        ratio = statistics.median(a.seconds / b.seconds for a, b in zip(first, each, strict=True))
        print(
            f"{name:<34}mean {statistics.mean(returns):.3f}, least {min(returns):.3f}, solved at "
            f"{median_solved(each):,.0f} in the median; CPU-s of {next(iter(runs))} over these {ratio:.2f}"
        )
    least = min(run.final for run in first)
    print(
        f"bar {bar:g}: {'held' if least >= bar else 'missed'} by the least of {len(first)} seeds, {least:.3f}",
        flush=True,
    )
    return runs
