"""Annealing in the real Trainer, on a module of one weight: value at each step, resume, weight averaging, errors."""

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from discrete_lightning.callbacks import TemperatureAnnealing, WeightAnnealing
from discrete_lightning.losses import EntropyBonus
from discrete_lightning.nn import GumbelQuantizer, LossWeight, RelaxedCategorical, Temperature
from discrete_lightning.schedules import Constant, Exponential, Linear, Schedule

pytestmark = pytest.mark.filterwarnings(
    "ignore:Be aware that when using `ckpt_path`, callbacks",
    "ignore:Using ModelCheckpoint with manual optimization",
    "ignore:You're resuming from a checkpoint that ended before the epoch ended",  # the data are the same every step
)

TAU = Exponential(1.0, rate=0.1, minimum=0.05)
RAMP = Linear(0.0, 1.0, steps=7)


def float32(value: float) -> float:
    return torch.tensor(value, dtype=torch.float32).item()


class Model(LightningModule):
    """Records what each training step and each validation sees."""

    def __init__(self, die_at: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.zeros_(self.layer.bias)
        self.sample = RelaxedCategorical()
        self.bonus = EntropyBonus(choice=1.0)
        self.die_at = die_at
        self.seen: list[tuple[int, float, float]] = []
        self.weights: list[Tensor] = []
        self.validated: list[float] = []

    def record(self) -> None:
        if self.die_at is not None and len(self.seen) == self.die_at:
            raise KilledError
        self.seen.append((self.global_step, self.sample.temperature().item(), self.bonus.choice().item()))
        self.weights.append(self.layer.weight.detach().clone())

    def loss(self, batch: Tensor) -> Tensor:
        logits = self.layer(batch)
        return (
            torch.softmax(logits / self.sample.temperature(), -1)[:, 0] - logits[:, 1]
        ).square().mean() + self.bonus(logits)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.record()
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.layer.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.tensor([[1.0, -0.5]]).repeat(14, 1), batch_size=2)  # 7 batches  # type: ignore[arg-type]


class KilledError(Exception):
    """The run is killed."""


class WithValidation(Model):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.sample.temperature().item())

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.ones(2, 2), batch_size=1)  # type: ignore[arg-type]


class TwoOptimizers(Model):
    def __init__(self, die_at: int | None = None) -> None:
        super().__init__(die_at)
        self.automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> None:  # type: ignore[override]
        self.record()
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([self.layer.weight], lr=0.1), torch.optim.SGD([self.layer.bias], lr=0.1)]


def fit(
    model: LightningModule,
    *callbacks: Callback,
    root: Path | None = None,
    ckpt_path: Path | None = None,
    **options: Any,
) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"accelerator": "cpu", "max_epochs": 2, "enable_checkpointing": root is not None}
    if root is not None:
        callbacks = (*callbacks, ModelCheckpoint(root, every_n_train_steps=2, save_top_k=-1, filename="{step}"))
    trainer = Trainer(callbacks=list(callbacks), default_root_dir=root, **{**quiet, **options})
    trainer.fit(model, ckpt_path=ckpt_path)
    return trainer


def temperatures(model: Model) -> list[float]:
    return [temperature for _, temperature, _ in model.seen]


# Per batch of 2 epochs of 7: the counter that the schedule should see.
STEPPED_BY_3 = [0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5]  # Lightning steps at the last batch of an epoch, too
BATCHES_BY_3 = [0, 0, 0, 3, 3, 3, 6, 7, 7, 7, 10, 10, 10, 13]
EPOCHS = [0] * 7 + [1] * 7


@pytest.mark.parametrize(
    ("count", "accumulate", "steps"),
    [
        ("optimizer_steps", 1, range(14)),
        ("batches", 1, range(14)),
        ("epochs", 1, EPOCHS),
        ("optimizer_steps", 3, STEPPED_BY_3),
        ("batches", 3, BATCHES_BY_3),
        ("epochs", 3, EPOCHS),
    ],
)
def test_values_follow_the_schedule(count: Any, accumulate: int, steps: list[int]) -> None:
    model = Model()
    callbacks = TemperatureAnnealing(TAU, count), WeightAnnealing(RAMP, "bonus.choice", count)
    fit(model, *callbacks, accumulate_grad_batches=accumulate)
    assert temperatures(model) == [float32(TAU(step)) for step in steps]
    assert [weight for *_, weight in model.seen] == [float32(RAMP(step)) for step in steps]


@pytest.mark.parametrize(
    ("count", "steps"), [("optimizer_steps", range(14)), ("batches", range(14)), ("epochs", EPOCHS)]
)
def test_two_optimizers(count: Any, steps: list[int]) -> None:
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
        ("optimizer_steps", Model, 3, False),
        ("batches", Model, 3, False),
        ("optimizer_steps", TwoOptimizers, 1, False),
        ("optimizer_steps", Model, 1, True),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_killed_run_goes_on_exactly(
    tmp_path: Path, count: Any, kind: type[Model], accumulate: int, average: bool
) -> None:
    def run(model: Model, **options: Any) -> Model:
        callbacks: list[Callback] = [TemperatureAnnealing(TAU, count), WeightAnnealing(RAMP, "bonus.choice", count)]
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


class Several(Model):
    """Three temperatures, one of them shared, and two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"a": Temperature(), "b": GumbelQuantizer(4, 2)})
        self.shared = self.encoder["a"]
        self.kl = nn.ModuleDict({"weight": LossWeight(0.0)})


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
    with pytest.raises(ValueError, match="'optimizer_steps', 'batches' or 'epochs', got 'steps'"):
        kind(TAU, "steps")


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
        def __call__(self, step: int) -> float:
            return 0.5 if step % 2 else 1.0

    model = Model()
    fit(model, TemperatureAnnealing(Alternating()), max_epochs=1)
    assert temperatures(model) == [1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0]
