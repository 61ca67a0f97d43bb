"""What annealing refuses, before training where it can be known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from discrete_lightning.callbacks import LearningRateAnnealing, TemperatureAnnealing, WeightAnnealing
from discrete_lightning.nn import RelaxedCategorical, Temperature
from discrete_lightning.schedules import Constant, Cosine, Delayed, Exponential, Linear, Staircase
from tests.training.annealed_module import RAMP, TAU, Model, Several, TwoOptimizers, fit


class Learned(Model):
    def __init__(self) -> None:
        super().__init__()
        self.sample = RelaxedCategorical(temperature=Temperature(learnable=True))


class Nothing(Model):
    def __init__(self) -> None:
        super().__init__()
        self.sample = nn.ModuleDict()  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("model", "callback", "said"),
    [
        (Nothing, TemperatureAnnealing(TAU), ["Nothing", "no Temperature"]),
        (Model, TemperatureAnnealing(TAU, only="encoder.*"), ["encoder.*", "sample.temperature"]),
        (Several, TemperatureAnnealing(TAU, only=["x", "y"]), ["'x', 'y'", "encoder.b.sample.temperature"]),
        (Learned, TemperatureAnnealing(TAU), ["sample.temperature", "learned"]),
        (Model, WeightAnnealing(RAMP, "kl.weight"), ["kl.weight", "bonus.choice", "bonus.marginal"]),
        (Model, WeightAnnealing(RAMP, "sample.temperature"), ["bonus.choice"]),
    ],
)
def test_nothing_to_set(model: Callable[[], Model], callback: Callback, said: list[str]) -> None:
    made = model()
    with pytest.raises(ValueError) as caught:
        fit(made, callback)
    assert all(part in str(caught.value) for part in [type(callback).__name__, *said])
    assert not made.seen


@pytest.mark.parametrize(
    ("callback", "said", "steps"),
    [
        (TemperatureAnnealing(Linear(1.0, 0.0, steps=4)), ["Linear(start=1.0", "optimizer_steps 4", "positive"], 4),
        (TemperatureAnnealing(Linear(1.0, -1.0, 2), "epochs"), ["epochs 1", "got 0.0"], 7),
        (TemperatureAnnealing(Constant(-1.0)), ["Constant(value=-1.0)", "optimizer_steps 0"], 0),
        (WeightAnnealing(Linear(1.0, -1.0, 8), "bonus.*", "batches"), ["batches 5", "negative, got -0.25"], 5),
    ],
)
def test_a_schedule_out_of_range(callback: Callback, said: list[str], steps: int) -> None:
    model = Model()
    with pytest.raises(ValueError) as caught:
        fit(model, callback)
    assert all(part in str(caught.value) for part in said)
    assert len(model.seen) == steps


@pytest.mark.parametrize("kind", [TemperatureAnnealing, lambda *args: WeightAnnealing(RAMP, "*", "steps")])
def test_unknown_count(kind: Callable[..., Callback]) -> None:
    with pytest.raises(ValueError, match="'optimizer_steps', 'batches', 'epochs' or 'progress', got 'steps'"):
        kind(TAU, "steps")


@pytest.mark.parametrize(
    "schedule",
    [
        Linear(1.0, 0.1, steps=100),
        Cosine(1.0, 0.1, 1.5),
        Delayed(Constant(1.0), 2),
        Staircase(Linear(1.0, 0.1, 1), 1.5),
        Staircase(Exponential(1.0, rate=5.0), every=500),
    ],
    ids=repr,
)
def test_steps_are_no_share_of_the_run(schedule: Any) -> None:
    with pytest.raises(ValueError, match=r"count='progress' goes from 0 to 1: .* \(steps=1 is the whole run\)"):
        TemperatureAnnealing(schedule, count="progress")


@pytest.mark.parametrize("count", ["optimizer_steps", "batches", "epochs"])
def test_a_share_of_the_run_is_no_steps(count: Any) -> None:
    with pytest.raises(ValueError, match=f"ends before {count} 1: give whole steps, or take count='progress'"):
        TemperatureAnnealing(Linear(1.0, 0.1, steps=0.5), count)


@pytest.mark.parametrize("schedule", [Linear(1.0, 0.1, 1), Exponential(1.0, rate=5.0), Constant(1.0)], ids=repr)
def test_schedules_that_fit_every_counter(schedule: Any) -> None:
    for count in ("optimizer_steps", "batches", "epochs", "progress"):
        TemperatureAnnealing(schedule, count)  # type: ignore[arg-type]


def test_shares_whose_sum_is_rounded_above_one() -> None:
    TemperatureAnnealing(Delayed(Delayed(Linear(1.0, 0.1, steps=0.56), steps=0.1), steps=0.34), count="progress")


def test_a_run_without_end_has_no_share() -> None:
    model = Model()
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs or trainer\.max_steps"):
        fit(model, TemperatureAnnealing(Linear(1.0, 0.1, steps=1), count="progress"), max_epochs=-1)
    assert not model.seen


class Scheduler(Model):
    """Has a scheduler of torch's."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


RATE = LearningRateAnnealing(Cosine(0.1, 0.0, steps=1))


@pytest.mark.parametrize(
    ("model", "callbacks", "said"),
    [
        (Model, [TemperatureAnnealing(TAU), TemperatureAnnealing(RAMP)], ["anneal temperature", str(TAU), str(RAMP)]),
        (Several, [TemperatureAnnealing(TAU), TemperatureAnnealing(TAU, only="*.b.*")], ["encoder.b", "narrow"]),
        (
            Several,
            [TemperatureAnnealing(TAU, only="shared"), TemperatureAnnealing(TAU, only="encoder.*")],
            ["two callbacks anneal", "temperature/shared", "temperature/encoder.a"],
        ),
        (Model, [WeightAnnealing(RAMP, "*.choice"), WeightAnnealing(RAMP, "bonus.*")], ["weight/bonus.choice"]),
        (Model, [RATE, LearningRateAnnealing(Constant(1.0))], ["anneal learning_rate", "Cosine", "Constant"]),
        (
            TwoOptimizers,
            [LearningRateAnnealing(Constant(1.0), optimizer=1), RATE],
            ["anneal learning_rate/1"],
        ),
        (Scheduler, [RATE], ["StepLR", "LearningRateAnnealing", "optimiser 0 of Scheduler: remove one"]),
        (Model, [LearningRateAnnealing(Constant(1.0), optimizer=1)], ["optimizer=1", "Model has 1 optimiser"]),
    ],
)
def test_two_that_set_one_number(model: type[Model], callbacks: list[Callback], said: list[str]) -> None:
    made = model()
    with pytest.raises(ValueError) as caught:
        fit(made, *callbacks)
    assert [part for part in said if part not in str(caught.value)] == []
    assert not made.seen


def test_callbacks_that_set_different_numbers_go_together() -> None:
    model = TwoOptimizers()
    rates = [LearningRateAnnealing(Constant(1.0 + i), optimizer=i) for i in range(2)]
    trainer: Trainer = fit(model, TemperatureAnnealing(TAU), WeightAnnealing(RAMP, "bonus.choice"), *rates)
    assert [each.param_groups[0]["lr"] for each in trainer.optimizers] == [1.0, 2.0]


def test_no_schedule_sets_nothing() -> None:
    model = Model()
    trainer = fit(model, TemperatureAnnealing(None), WeightAnnealing(None, "no such weight"))
    assert {seen[1:] for seen in model.seen} == {(1.0, 1.0)}
    assert trainer.logged_metrics == {}
