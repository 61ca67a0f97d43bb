"""The best sequence at every number of oracle calls: GradientSearch(calls=N) against its peers, on oracles never seen.

python -m benchmarks.design_anytime [--seeds 3] [--only TEXT] [--task maximise|edit] [--networks FOLDER]
    needs `pip install 'discrete-lightning[design-peers]'`; a peer that is not installed is left out, and that is said

A call is one sequence through the oracle, with or without gradient. Two tasks: the highest score from a random start, and an
edit of a random template, (score - target)^2 + price * edits. Printed is the mean over seeds of the best total that a method
has after N calls, as a score to maximise or a total to minimise. Our search knows N, so it is run once for each N; the others
do not use it, and are run once, with their default or published settings (GrAdaBeam with two). Requirement: ours is at or above
the best of the others at each N, within one standard error of the paired differences; the places where it is not are listed at
the end, and at how many places its mean is the best without that allowance.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.design.anytime_methods import METHODS, OURS, Task, until_spent
from benchmarks.design.unseen import Problem, development, reported

CALLS = (100, 250, 500, 1000, 2400)
_PACKAGES = {"GrAdaBeam": "gradabeam", "AdaBeam": "gradabeam", "ledidi": "ledidi", "tangermeme": "tangermeme"}


def totals(name: str, problem: Problem, seed: int, editing: bool, marks: Sequence[int]) -> list[float]:
    """The best total of a method after each number of calls."""
    found = []
    for calls in marks if name == OURS else marks[-1:]:
        task = Task(problem, calls, seed, editing)
        torch.manual_seed(seed)
        torch.set_num_threads(1)  # a peer sets its own number
        with until_spent():
            METHODS[name](task, seed)
        best = task.best
        found += [best[-1]] if name == OURS else [best[min(each, len(best)) - 1] for each in marks]
    return found


def race(
    problem: Problem, editing: bool, seeds: int, names: list[str], marks: Sequence[int] = CALLS
) -> tuple[list[str], int]:
    """Prints the table of a problem; the places where ours is not at or above the best other, and where it is best."""
    print(
        f"\n{problem.name}, {'edit, total to minimise' if editing else 'score to maximise'}; {tuple(marks)} calls",
        flush=True,
    )
    sign = 1.0 if editing else -1.0
    table: dict[str, list[list[float]]] = {}
    for name in names:
        before = time.perf_counter()
        table[name] = [totals(name, problem, seed, editing, marks) for seed in range(seeds)]
        cells = []
        for column in zip(*table[name], strict=True):
            spread = statistics.stdev(column) if seeds > 1 else 0.0
            cells.append(f"{sign * statistics.mean(column):9.3f} ({spread:.3f})")
        print(
            f"{name:28s}" + "".join(f"{cell:>19s}" for cell in cells) + f"{time.perf_counter() - before:7.0f} s",
            flush=True,
        )
    missed, wins = [], 0
    for i, calls in enumerate(marks):
        means = {name: statistics.mean(run[i] for run in runs) for name, runs in table.items()}
        if OURS not in means or len(means) < 2:
            continue
        others = {name: mean for name, mean in means.items() if name != OURS}
        best = min(others, key=lambda name: others[name])
        apart = [ours[i] - other[i] for ours, other in zip(table[OURS], table[best], strict=True)]
        wins += statistics.mean(apart) <= 1e-6
        error = statistics.stdev(apart) / seeds**0.5 if seeds > 1 else 0.0
        if statistics.mean(apart) > error + 1e-6:
            task = "edit" if editing else "maximise"
            missed.append(
                f"{problem.name}, {task}, {calls} calls: {sign * means[OURS]:.3f}, {best} {sign * means[best]:.3f} "
                f"(standard error of the difference {error:.3f})"
            )
    return missed, wins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS, help="in ascending order")
    parser.add_argument("--task", choices=("maximise", "edit"))
    parser.add_argument("--only", default="", help="problems whose name contains this")
    parser.add_argument("--method", default="", help="methods whose name contains this")
    parser.add_argument("--networks", type=Path, help="keep the trained networks in this folder")
    parser.add_argument("--development", type=int, help="the problems of this seed, on which settings are chosen")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(
        True
    )  # gradients of a sum of exponentials are denormal numbers far from a site: 20 times slower
    names = [name for name in METHODS if arguments.method in name]
    for start, package in _PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            names = [name for name in names if not name.startswith(start)]
            print(f"{start} is left out: {package} is not installed")
    if arguments.development is None:
        problems = reported(arguments.networks, arguments.only)
    else:
        made = development(arguments.development, arguments.networks)
        problems = [problem for problem in made if arguments.only in problem.name]
    missed, wins, places = list[str](), 0, 0
    for editing in (False, True):
        if arguments.task in (None, "edit" if editing else "maximise"):
            for problem in problems:
                below, best = race(problem, editing, arguments.seeds, names, arguments.calls)
                missed, wins, places = missed + below, wins + best, places + len(arguments.calls)
    print(
        f"\nours is at or above the best of the others at {places - len(missed)} of {places} places, and the best at {wins}"
    )
    for line in missed:
        print(f"below: {line}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
