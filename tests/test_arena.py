"""The arena (benchmarks/arena): its budgets, its rule for temperatures, and tasks whose best score is known."""

from pathlib import Path

import pytest
import torch

from benchmarks.arena import listops, polynomial, routing, selection
from benchmarks.arena.contestants import contestants, plans
from benchmarks.arena.page import table
from benchmarks.arena.problem import Plan, Task, train
from benchmarks.arena.runs import Runs, tuned
from discrete_lightning import estimators
from discrete_lightning.estimators import DisARM, LeaveOneOut, ReinMax

ONE = Plan(1.0, 1.0)


def small_task() -> Task:
    return Task(
        make=lambda seed: polynomial.Polynomial(1.5, 0.45, seed),
        tuning=lambda seed: polynomial.Polynomial(1.5, 0.4, seed),
        steps=10,
        rows=8,
        seeds=2,
        unit="loss",
        kind="binary",
    )


def test_every_exported_estimator_competes() -> None:
    assert {type(each).__name__ for each in contestants().values()} == set(estimators.__all__) - {"Estimator"}


@pytest.mark.parametrize("estimator", [ReinMax(), DisARM(), LeaveOneOut(samples=4)], ids=repr)
def test_all_make_the_same_steps_with_the_same_evaluations(estimator: estimators.Estimator) -> None:
    spent = train(polynomial.Polynomial(1.5, 0.45, 0), estimator, ONE, steps=30, rows=8, seed=0)
    assert 30 * 8 <= spent.evaluations <= 31 * 8
    assert 30 <= spent.steps <= 31


def test_an_estimator_that_needs_more_evaluations_than_a_step_has_makes_fewer_steps() -> None:
    spent = train(polynomial.Polynomial(1.5, 0.45, 0), LeaveOneOut(samples=32), ONE, steps=30, rows=8, seed=0)
    assert spent.evaluations == pytest.approx(30 * 8, abs=32)
    assert 7 <= spent.steps <= 9


def test_a_temperature_is_chosen_only_where_the_gradient_depends_on_it() -> None:
    problem = polynomial.Polynomial(1.5, 0.45, 0)
    assert len(plans(problem, ReinMax())) > 1
    assert plans(problem, LeaveOneOut()) == (ONE,)


def test_an_estimator_that_is_not_defined_for_a_kind_of_choice_makes_no_runs(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs.csv")
    assert tuned(runs, "ListOps", listops.TASKS["ListOps"], "DisARM", DisARM()) is None
    assert tuned(runs, "selection", selection.TASKS["selection"], "Sparsemax", estimators.Sparsemax()) is None
    assert not runs.rows
    for task in (*listops.TASKS.values(), *selection.TASKS.values(), *polynomial.TASKS.values()):
        assert task.kind == task.make(0).kind


def test_runs_are_made_once_and_the_best_temperature_of_the_tuning_problem_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    runs = Runs(file)
    plan = tuned(runs, "toy", small_task(), "ReinMax", ReinMax())
    assert plan is not None
    runs.get("toy", small_task(), "reported", "ReinMax", ReinMax(), plan, 0)
    again = Runs(file)
    assert again.rows == runs.rows
    scores: dict[str, float] = {}
    for row in again.rows:
        if row.stage == "tuning":
            scores[row.tau] = scores.get(row.tau, 0.0) + row.score
    assert scores[str(plan)] == min(scores.values())
    assert len(scores) > 1
    lines = file.read_text()
    tuned(again, "toy", small_task(), "ReinMax", ReinMax())
    assert file.read_text() == lines


def test_known_answers_score_zero() -> None:
    trees = listops.ListOps(5, 0)
    torch.nn.init.zeros_(trees.logits)
    trees.logits.data[torch.arange(8), trees.meaning] = 9.0
    assert trees.score() == 0
    toy = polynomial.Polynomial(1.5, 0.45, 0)
    toy.odds.data.fill_(-60.0)
    assert toy.score() == pytest.approx(0, abs=1e-9)


def test_wrong_answers_score_worse() -> None:
    trees = listops.ListOps(5, 0)
    torch.nn.init.zeros_(trees.logits)
    trees.logits.data[torch.arange(8), trees.meaning.roll(1)] = 9.0
    assert trees.score() > 30
    columns = selection.Selection("sine", 0)
    assert columns.score() > 0.8
    assert routing.Routing(4, 3, 0).score() > 0.8


def test_a_table_marks_the_best_mean_and_what_is_not_defined(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs.csv")
    for seed in (0, 1):
        runs.get("toy", small_task(), "reported", "ReinMax", ReinMax(), ONE, seed)
    scores = {("toy", "ReinMax"): {row.seed: row for row in runs.rows}}
    text = table(scores, {"toy": small_task()}, ["DisARM", "ReinMax"], {("toy", "DisARM")})
    assert "| DisARM | - |" in text
    assert "| ReinMax | **" in text


def test_a_plan_moves_along_a_line() -> None:
    assert [Plan(1.5, 0.5).at(share) for share in (0.0, 0.5, 1.0)] == [1.5, 1.0, 0.5]
    assert (str(Plan(1.5, 0.1)), str(Plan(0.3, 0.3))) == ("1.5 to 0.1", "0.3")
