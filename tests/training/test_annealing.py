"""Annealing in the real Trainer, on a module of one weight: value at each step, resume, weight averaging, errors."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from discrete_lightning.callbacks import TemperatureAnnealing, WeightAnnealing
from discrete_lightning.estimators import LeaveOneOut
from discrete_lightning.nn import RelaxedCategorical, Temperature
from discrete_lightning.schedules import Constant, Linear, Schedule
from tests.training.annealed_module import (
    RAMP,
    TAU,
    KilledError,
    Model,
    Several,
    TwoOptimizers,
    WithValidation,
    fit,
    float32,
    temperatures,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:Be aware that when using `ckpt_path`, callbacks",
    "ignore:Using ModelCheckpoint with manual optimization",
    "ignore:You're resuming from a checkpoint that ended before the epoch ended",  # the data are the same every step
)

STEPPED_BY_3 = [0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5]  # Lightning steps at the last batch of an epoch, too
BATCHES_BY_3 = [0, 0, 0, 3, 3, 3, 6, 7, 7, 7, 10, 10, 10, 13]
RAMPS: dict[str, Any] = {"progress": Linear(0.0, 1.0, steps=1)}  # a share of the run ends at 1
EPOCHS = [0] * 7 + [1] * 7
SHARES = [batch / 14 for batch in range(14)]
SHARES_BY_3 = [(7 * epoch + batch) / 14 for epoch in range(2) for batch in (0, 0, 0, 3, 3, 3, 6)]


@pytest.mark.parametrize(
    ("count", "accumulate", "steps"),
    [
        ("optimizer_steps", 1, range(14)),
        ("batches", 1, range(14)),
        ("epochs", 1, EPOCHS),
        ("optimizer_steps", 3, STEPPED_BY_3),
        ("batches", 3, BATCHES_BY_3),
        ("epochs", 3, EPOCHS),
        ("progress", 1, SHARES),
        ("progress", 3, SHARES_BY_3),
    ],
)
def test_values_follow_the_schedule(count: Any, accumulate: int, steps: list[float]) -> None:
    model, ramp = Model(), RAMPS.get(count, RAMP)
    callbacks = TemperatureAnnealing(TAU, count), WeightAnnealing(ramp, "bonus.choice", count)
    fit(model, *callbacks, accumulate_grad_batches=accumulate)
    assert temperatures(model) == [float32(TAU(step)) for step in steps]
    assert [weight for *_, weight in model.seen] == [float32(ramp(step)) for step in steps]


@pytest.mark.parametrize(
    ("count", "steps"),
    [("optimizer_steps", range(14)), ("batches", range(14)), ("epochs", EPOCHS), ("progress", SHARES)],
)
def test_two_optimizers(count: Any, steps: list[float]) -> None:
    model = TwoOptimizers()
    fit(model, TemperatureAnnealing(TAU, count))
    assert [step for step, *_ in model.seen] == list(range(0, 28, 2))
    assert temperatures(model) == [float32(TAU(step)) for step in steps]


@pytest.mark.parametrize(
    ("count", "kind", "accumulate", "average"),
    [
        ("optimizer_steps", Model, 1, False),
        ("batches", Model, 1, False),
        ("epochs", Model, 1, False),
        ("progress", Model, 1, False),
        ("optimizer_steps", Model, 3, False),
        ("batches", Model, 3, False),
        ("progress", Model, 3, False),
        ("optimizer_steps", TwoOptimizers, 1, False),
        ("progress", TwoOptimizers, 1, False),
        ("optimizer_steps", Model, 1, True),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_killed_run_goes_on_exactly(
    tmp_path: Path, count: Any, kind: type[Model], accumulate: int, average: bool
) -> None:
    def run(model: Model, **options: Any) -> Model:
        ramp = RAMPS.get(count, RAMP)
        callbacks: list[Callback] = [TemperatureAnnealing(TAU, count), WeightAnnealing(ramp, "bonus.choice", count)]
        callbacks += [EMAWeightAveraging(decay=0.9)] if average else []
        fit(model, *callbacks, accumulate_grad_batches=accumulate, **options)
        return model

    whole, killed = run(kind()), kind(die_at=11)
    with pytest.raises(KilledError):
        run(killed, root=tmp_path)
    last = max(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    resumed = run(kind(), ckpt_path=last)
    done = len(whole.seen) - len(resumed.seen)
    assert 7 < done <= 11  # in the middle of the second epoch
    assert killed.seen == whole.seen[:11]
    assert resumed.seen == whole.seen[done:]
    for got, wanted in zip(resumed.weights, whole.weights[done:], strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize(
    ("kind", "options", "shares"),
    [
        (Model, {"max_epochs": -1, "max_steps": 4}, [0.0, 0.25, 0.5, 0.75]),
        (Model, {"max_steps": 4}, [0.0, 0.25, 0.5, 0.75]),
        (Model, {"max_steps": 1000, "max_epochs": 1}, [batch / 7 for batch in range(7)]),
        (Model, {"max_steps": 2, "accumulate_grad_batches": 2}, [0.0, 0.0, 0.5, 0.5]),
        (TwoOptimizers, {"max_steps": 8}, [0.0, 0.25, 0.5, 0.75]),  # max_steps counts those of both
        (Model, {"limit_train_batches": 2}, [0.0, 0.25, 0.5, 0.75]),
    ],
)
def test_progress_is_of_whatever_ends_the_run(kind: type[Model], options: dict[str, Any], shares: list[float]) -> None:
    model = kind()
    fit(model, TemperatureAnnealing(Linear(1.0, 0.1, steps=1), "progress"), **options)
    assert temperatures(model) == [float32(1.0 + (0.1 - 1.0) * share) for share in shares]


def test_resuming_a_finished_run_leaves_its_temperature(tmp_path: Path) -> None:
    fit(Model(), TemperatureAnnealing(TAU), root=tmp_path)
    last = tmp_path / "step=14.ckpt"
    saved = torch.load(last, weights_only=True)["state_dict"]["sample.temperature.value"]
    assert saved.item() == float32(TAU(13))
    model = Model()
    fit(model, TemperatureAnnealing(TAU), ckpt_path=last)
    assert not model.seen
    assert model.sample.temperature().item() == saved.item()


@pytest.mark.parametrize("annealing_first", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"use_buffers": False}, {"update_every_n_steps": 3}, {"update_starting_at_step": 5}], ids=str
)
def test_weight_averaging_leaves_the_value_alone(
    tmp_path: Path, annealing_first: bool, options: dict[str, Any]
) -> None:
    model = WithValidation()
    callbacks: list[Callback] = [TemperatureAnnealing(TAU), EMAWeightAveraging(decay=0.9, **options)]
    fit(model, *callbacks[:: 1 if annealing_first else -1], root=tmp_path, val_check_interval=2)
    assert temperatures(model) == [float32(TAU(step)) for step in range(14)]
    last_steps = [0, 1, 3, 5, 8, 10, 12]  # sanity check, then validation after batches 2, 4 and 6 of each epoch
    assert model.validated == pytest.approx([TAU(step) for step in last_steps for _ in range(2)], rel=1e-6)
    assert model.sample.temperature().item() == pytest.approx(TAU(13), rel=1e-6)
    for step in (2, 8, 14):
        state = torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)
        for key in ("state_dict", "current_model_state"):
            assert state[key]["sample.temperature.value"].item() == pytest.approx(TAU(step - 1), rel=1e-6)


def test_weight_averaging_still_averages_the_rest() -> None:
    plain, averaged = Model(), Model()
    fit(plain, TemperatureAnnealing(TAU))
    fit(averaged, TemperatureAnnealing(TAU), EMAWeightAveraging(decay=0.9))
    assert not torch.allclose(plain.layer.weight, averaged.layer.weight)


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed", "16-true", "64-true"])
def test_exact_in_every_precision(precision: Any, tmp_path: Path) -> None:
    model = Model()
    trainer = fit(
        model, TemperatureAnnealing(TAU), WeightAnnealing(RAMP, "bonus.choice"), precision=precision, root=tmp_path
    )
    assert model.seen == [(step, float32(TAU(step)), float32(RAMP(step))) for step in range(14)]
    assert model.sample.temperature().dtype == model.bonus.choice().dtype == torch.float32
    assert trainer.logged_metrics["temperature"].item() == float32(TAU(13))
    state = torch.load(tmp_path / "step=14.ckpt", weights_only=True)["state_dict"]
    assert state["sample.temperature.value"].item() == float32(TAU(13))


def test_a_schedule_without_effect_is_pointed_out() -> None:
    model = Several()
    model.sample.set_estimator(LeaveOneOut())
    with pytest.warns(UserWarning, match=r"moves sample\.temperature, which LeaveOneOut\(samples=2\) does not use"):
        fit(model, TemperatureAnnealing(Constant(0.25)), max_epochs=1)
    model.own = model.sample.temperature  # used elsewhere, too, for all one knows
    fit(model, TemperatureAnnealing(Constant(0.25)), max_epochs=1)


def test_a_temperature_of_two_names_is_found_by_either() -> None:
    for only in ("shared", "encoder.a"):
        model = Several()
        trainer = fit(model, TemperatureAnnealing(Constant(0.25), only=only), max_epochs=1)
        assert model.shared().item() == 0.25
        assert list(trainer.logged_metrics) == [f"temperature/{only}"]


def test_several_with_schedules_of_their_own() -> None:
    model = Several()
    callbacks = [
        TemperatureAnnealing(Constant(0.25), only="encoder.*"),
        TemperatureAnnealing(Constant(0.75), only=["sample.*", "nothing"]),
        WeightAnnealing(Constant(0.5), only="kl.weight"),
    ]
    trainer = fit(model, *callbacks, max_epochs=1)
    assert model.encoder["a"]().item() == model.encoder["b"].sample.temperature().item() == 0.25  # type: ignore[operator]
    assert model.shared is model.encoder["a"]
    assert model.sample.temperature().item() == 0.75
    assert model.kl["weight"]().item() == 0.5  # type: ignore[operator]
    assert (model.bonus.choice().item(), model.bonus.marginal().item()) == (1.0, 0.0)
    assert {name: value.item() for name, value in trainer.logged_metrics.items()} == {
        "temperature/encoder.a": 0.25,
        "temperature/encoder.b.sample.temperature": 0.25,
        "temperature/sample.temperature": 0.75,
        "weight/kl.weight": 0.5,
    }


@pytest.mark.parametrize(
    ("model", "callback", "names"),
    [
        (Model, TemperatureAnnealing(TAU), {"temperature"}),
        (Model, TemperatureAnnealing(TAU, log=False), set()),
        (Model, TemperatureAnnealing(TAU, only="sample.*"), {"temperature/sample.temperature"}),
        (
            Several,
            TemperatureAnnealing(TAU),
            {f"temperature/{name}" for name in ("encoder.a", "encoder.b.sample.temperature", "sample.temperature")},
        ),
        (Model, WeightAnnealing(RAMP, "bonus.*"), {"weight/bonus.choice", "weight/bonus.marginal"}),
        (Model, WeightAnnealing(RAMP, "*.choice", log=False), set()),
    ],
)
def test_names_in_the_log(model: type[Model], callback: Callback, names: set[str]) -> None:
    assert fit(model(), callback, max_steps=2).logged_metrics.keys() == names


def test_learned_temperatures_are_left_alone() -> None:
    model = Several()
    model.learned = Temperature(0.5, learnable=True)
    fit(model, TemperatureAnnealing(Constant(0.25)), max_steps=2)
    assert model.learned().item() == pytest.approx(0.5)
    assert model.sample.temperature().item() == 0.25


class BuiltLate(Model):
    """Makes its layers where Lightning wants large or data-dependent models to make them."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        del self.sample
        self.hook = hook

    def configure_model(self) -> None:
        if self.hook == "configure_model" and not hasattr(self, "sample"):
            self.sample = RelaxedCategorical()

    def setup(self, stage: str) -> None:
        if self.hook == "setup":
            self.sample = RelaxedCategorical()


@pytest.mark.parametrize("hook", ["configure_model", "setup"])
def test_layers_built_late_are_found(hook: str) -> None:
    model = BuiltLate(hook)
    fit(model, TemperatureAnnealing(TAU))
    assert temperatures(model) == [float32(TAU(step)) for step in range(14)]


def test_validation_alone_keeps_the_temperature_of_the_checkpoint(tmp_path: Path) -> None:
    fit(Model(), TemperatureAnnealing(TAU), root=tmp_path)
    model = WithValidation()
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[TemperatureAnnealing(TAU)],
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.validate(model, ckpt_path=tmp_path / "step=6.ckpt", verbose=False)
    assert set(model.validated) == {float32(TAU(5))}


def test_a_callback_is_used_again_and_copied() -> None:
    callback: TemperatureAnnealing = TemperatureAnnealing(TAU)
    models = [Model(), Model(), Model()]
    for model, each in zip(models, (callback, callback, copy.deepcopy(callback)), strict=True):
        fit(model, each, max_epochs=1)
    assert all(a.seen == b.seen for a, b in itertools.pairwise(models))


def test_any_function_of_a_step_is_a_schedule() -> None:
    class Alternating(Schedule):
        def __call__(self, step: float) -> float:
            return 0.5 if step % 2 else 1.0

    model = Model()
    fit(model, TemperatureAnnealing(Alternating()), max_epochs=1)
    assert temperatures(model) == [1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0]
