"""The arena: every estimator on every task with discrete choices, with the same budget of evaluations of the loss.

python -m benchmarks.arena                                   # all of it, about 3 hours on one thread; then the page
python -m benchmarks.arena --tasks ListOps --estimators ReinMax GumbelRao
python -m benchmarks.arena --page                            # the page of the runs that are there
python -m benchmarks.arena --check --tasks "VAE 8x16" --estimators ReinMax ContractedReinMax --seeds 3  # not kept

Tasks: categorical VAEs of five sizes, routing to one of eight experts, selection of k columns, a table of trained cells, an
expression whose symbols are to be read, and the polynomial toy. Budget and batches: benchmarks/arena/problem.py.

Temperature, by one rule for all: four constants and a line from 1.5 to 0.1 are tried in half the steps on two seeds of another
problem of the family (VAE: 8 x 8; routing: 6 regions of 12 numbers; selection: another function; table: one of 125 cells;
ListOps: base 5; polynomial: another centre), and the lowest mean score decides. All else is the estimator's default. Runs are
appended to results/runs.csv, and made once.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.arena import listops, nas, polynomial, routing, selection, vae
from benchmarks.arena.contestants import PLANS, contestants
from benchmarks.arena.page import write_page
from benchmarks.arena.problem import Plan, Task, train
from benchmarks.arena.runs import Runs, tuned
from discrete_lightning.estimators import Estimator

TASKS: dict[str, Task] = {
    **vae.TASKS,
    **routing.TASKS,
    **selection.TASKS,
    **nas.TASKS,
    **listops.TASKS,
    **polynomial.TASKS,
}
RESULTS = Path(__file__).parent / "results"


def family(task: str) -> str:
    """Tasks of one family share a tuning problem."""
    return "VAE" if task.startswith("VAE") else task


def check(runs: Runs, tasks: list[str], names: dict[str, Estimator], seeds: Sequence[int]) -> None:
    """Runs at the temperatures that were chosen, with other seeds, beside what is recorded. Writes nothing."""
    for name in tasks:
        for who, estimator in names.items():
            plan = runs.chosen(family(name), who) or Plan(1.0, 1.0)
            scores = []
            for seed in seeds:
                problem = TASKS[name].make(seed)
                train(problem, estimator, plan, TASKS[name].steps, TASKS[name].rows, seed)
                scores.append(problem.score())
            recorded = [
                row.score for row in runs.rows if (row.task, row.estimator, row.stage) == (name, who, "reported")
            ]
            told = f"recorded {statistics.fmean(recorded):.4g}" if recorded else "nothing recorded"
            print(f"{name:<12} {who:<22} {statistics.fmean(scores):.4f}   tau {plan}, {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--estimators", nargs="+", choices=list(contestants()), default=list(contestants()))
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0, 1, ... of as many as the task says")
    parser.add_argument("--runs", type=Path, default=RESULTS / "runs.csv", help="another file: without the page")
    parser.add_argument("--page", action="store_true", help="no runs, the page alone")
    parser.add_argument("--check", action="store_true", help="further seeds beside what is recorded; writes nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    runs, names = Runs(arguments.runs), contestants()
    if arguments.check:
        check(runs, arguments.tasks, {who: names[who] for who in arguments.estimators}, arguments.seeds or [100])
        return
    for name in [] if arguments.page else arguments.tasks:
        for who in arguments.estimators:
            plan = tuned(runs, family(name), TASKS[name], who, names[who])
            if plan is None:
                print(f"{name:<12} {who:<22} not defined", flush=True)
                continue
            seeds = arguments.seeds or range(TASKS[name].seeds)
            made = [runs.get(name, TASKS[name], "reported", who, names[who], plan, seed) for seed in seeds]
            scores = "  ".join(f"{each.score:.4g}" for each in made)
            print(f"{name:<12} {who:<22} tau {plan!s:<10} {scores}", flush=True)
    if arguments.runs != RESULTS / "runs.csv":
        return
    undefined = {(name, who) for name, task in TASKS.items() for who, each in names.items() if not task.takes(each)}
    current = [
        row for row in runs.rows if row.tau == str(runs.chosen(family(row.task), row.estimator) or Plan(1.0, 1.0))
    ]
    write_page(current, TASKS, arguments.runs.parent, PLANS, undefined)


if __name__ == "__main__":
    main()
