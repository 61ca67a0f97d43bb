"""The runs, one row of a CSV file each: a run that is there is not made again."""

import csv
import statistics
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.arena.contestants import FIXED, PLANS, plans
from benchmarks.arena.problem import Plan, Task, train
from discrete_lightning.estimators import Estimator

TUNING_SEEDS = (100, 101)
FAILED = float("inf")


@dataclass(frozen=True)
class Run:
    """One row.

    Attributes:
        task: its name, or that of its tuning problem.
        stage: "tuning" or "reported".
        estimator: by its name in tables.
        tau: the plan of the temperature, in words.
        seed: of the problem, the batches and the draws.
        score: lower is better; inf where it was not finite.
        steps, evaluations, seconds: what it took.
    """

    task: str
    stage: str
    estimator: str
    tau: str
    seed: int
    score: float
    steps: int
    evaluations: int
    seconds: float


class Runs:
    """The rows of a file, to which each new run is appended when it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Run] = []
        if path.exists():
            with path.open() as file:
                self.rows = [_read(row) for row in csv.DictReader(file)]

    def find(self, task: str, stage: str, estimator: str, tau: str, seed: int) -> Run | None:
        wanted = (task, stage, estimator, tau, seed)
        found = (row for row in self.rows if (row.task, row.stage, row.estimator, row.tau, row.seed) == wanted)
        return next(found, None)

    def get(
        self,
        name: str,
        task: Task,
        stage: str,
        who: str,
        estimator: Estimator,
        plan: Plan,
        seed: int,
        part: float = 1.0,
    ) -> Run:
        """The run, made if it is not there."""
        found = self.find(name, stage, who, str(plan), seed)
        if found is None:
            problem = (task.tuning if stage == "tuning" else task.make)(seed)
            start = time.perf_counter()
            spent = train(problem, estimator, plan, max(1, round(part * task.steps)), task.rows, seed)
            score = problem.score()
            found = Run(
                name, stage, who, str(plan), seed, round(score, 4) if abs(score) < FAILED else FAILED,
                spent.steps, spent.evaluations, round(time.perf_counter() - start, 1),
            )  # fmt: skip
            self.rows.append(found)
            self._append(found)
        return found

    def _append(self, run: Run) -> None:
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, [each.name for each in fields(Run)])
            if is_new:
                writer.writeheader()
            writer.writerow(asdict(run))

    def chosen(self, name: str, who: str) -> Plan | None:
        """The plan with the lowest mean score on the tuning problem."""
        if who in FIXED:
            return FIXED[who]
        scores: dict[str, list[float]] = {}
        for row in self.rows:
            if (row.task, row.stage, row.estimator) == (name, "tuning", who):
                scores.setdefault(row.tau, []).append(row.score)
        tried = [plan for plan in PLANS if str(plan) in scores]
        # equal ones, as where all is solved: 1 first
        return min(tried, key=lambda plan: (statistics.fmean(scores[str(plan)]), str(plan) != "1")) if tried else None


def _read(row: dict[str, str]) -> Run:
    kinds = {"score": float, "seconds": float, "seed": int, "steps": int, "evaluations": int}
    return Run(**{name: kinds.get(name, str)(value) for name, value in row.items()})


def tuned(runs: Runs, family: str, task: Task, who: str, estimator: Estimator) -> Plan | None:
    """The plan of this estimator for tasks of this family, from half the steps; None where it is not defined."""
    if not task.takes(estimator):
        return None
    if who in FIXED:
        return FIXED[who]
    choices = plans(task.tuning(TUNING_SEEDS[0]), estimator)
    if len(choices) < 2:
        return choices[0]
    for plan in choices:
        for seed in TUNING_SEEDS:
            runs.get(family, task, "tuning", who, estimator, plan, seed, part=0.5)
    return runs.chosen(family, who)
