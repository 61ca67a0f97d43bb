"""AdaptiveTemperature: what it measures, that the run does not notice, and that resumes and ranks change nothing."""

import copy
import math
import os
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.callbacks import AdaptiveTemperature, TemperatureAnnealing
from discrete_lightning.estimators import GumbelSoftmax, LeaveOneOut
from discrete_lightning.nn import RelaxedCategorical, Temperature
from discrete_lightning.schedules import Constant
from tests.ranks import run_on_ranks
from tests.tables.makers import MODELS
from tests.training.resumed_module import Learner, differences
from tests.training.resumed_module import fit as fit_and_save
from tests.training.steered_module import Steered, fit, left
from tests.training.test_exact_resume import chosen
from tests.training.test_keyed_noise import free_port


class Replay(Callback):
    """Sets the temperatures that another fit had."""

    def __init__(self, taus: list[float]) -> None:
        self.taus = taus

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        for each in pl_module.modules():
            if isinstance(each, Temperature):
                each.set(self.taus[batch_idx])


class Keeps(AdaptiveTemperature):
    """Keeps what it measures."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.biases: list[float] = []
        self.noises: list[float] = []

    def bias(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int = 0) -> float:
        self.biases.append(super().bias(trainer, pl_module, batch, batch_idx))
        return self.biases[-1]

    def _standard_error(self, device: torch.device) -> float:
        self.noises.append(super()._standard_error(device))
        return self.noises[-1]


class Quick(Keeps):
    """Sees less noise than there is, so that tau moves at each measurement."""

    def _standard_error(self, device: torch.device) -> float:
        return super()._standard_error(device) / 100


@pytest.mark.parametrize("way", ["automatic", "manual", "accumulation"])
def test_the_run_does_not_notice_the_measurements(way: str) -> None:
    options = {"accumulate_grad_batches": 2} if way == "accumulation" else {}
    module, callback = Steered(way == "manual"), Quick(every=2, examples=3)
    found = left(module, fit(module, callback, **options))
    assert len(callback.biases) == (3 if way == "accumulation" else 7)
    assert len(set(module.taus)) > 2
    again = Steered(way == "manual")
    expected = left(again, fit(again, Replay(module.taus), **options))
    assert again.taus == module.taus
    assert (module.steps, again.steps) == (16, 16)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def naive_bias(module: Steered, batch: list[Tensor], count: int, step: int) -> float:
    """Two losses of deep copies, with the same seeds; the second at a temperature at which samples are choices."""
    losses = []
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    for is_discrete in (False, True):
        copied = copy.deepcopy(module)
        copied.quantizer.sample.estimator = GumbelSoftmax()  # those of the module are straight-through
        copied.choice.estimator = GumbelSoftmax()
        for each in copied.modules():
            if isinstance(each, Temperature) and is_discrete:
                each.value.fill_(1e-3)
        torch.manual_seed(step)
        np.random.seed(step)
        random.seed(step)
        losses.append(copied.loss(batch[0][:count]).item())
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])
    return losses[1] - losses[0]


def test_the_bias_is_that_of_two_copies() -> None:
    class Compares(Keeps):
        def bias(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int = 0) -> float:
            expected.append(naive_bias(pl_module, batch, 3, trainer.global_step))  # type: ignore[arg-type]
            return super().bias(trainer, pl_module, batch, batch_idx)

    expected: list[float] = []
    callback = Compares(every=3, examples=3)
    fit(Steered(), callback)
    assert callback.biases == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert min(map(abs, expected)) > 1e-4


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_the_noise_is_the_standard_error_of_the_losses_since_then(precision: Any) -> None:
    module, callback = Steered(), Keeps(every=4)
    fit(module, callback, precision=precision)
    windows = [module.losses[start : start + 4] for start in (0, 4, 8)]
    assert callback.noises == pytest.approx([statistics.stdev(each) / 2 for each in windows], rel=1e-3)
    assert all(math.isfinite(each) for each in callback.biases)
    assert all(each.value.dtype == torch.float32 for each in module.modules() if isinstance(each, Temperature))
    assert callback.control.tau == pytest.approx(module.taus[-1], rel=1e-6)


def test_what_is_logged() -> None:
    trainer = fit(Steered(), AdaptiveTemperature(every=4))
    names = {"temperature/choice.temperature", "temperature/inner.mix.tau", "relaxation/bias", "relaxation/noise"}
    assert names <= set(trainer.callback_metrics)
    assert "temperature/choice.temperature" not in fit(Steered(), AdaptiveTemperature(4, log=False)).callback_metrics


def test_two_callbacks_steer_temperatures_of_their_own() -> None:
    module = Steered()
    first, second = Keeps(4, maximum=3.0, only="choice.*"), Keeps(4, 0.2, 1.0, only=["inner.*", "quantizer.*"])
    trainer = fit(module, first, second)
    assert module.choice.temperature().item() == pytest.approx(first.control.tau)
    assert module.inner["mix"].tau().item() == pytest.approx(second.control.tau)
    assert first.biases != second.biases
    assert {"relaxation/choice.temperature/bias", "relaxation/inner.mix.tau/bias"} <= set(trainer.callback_metrics)
    assert first.state_key != second.state_key


def test_a_second_fit_starts_anew() -> None:
    callback = Keeps(every=4)
    runs = []
    for _ in range(2):
        module = Steered()
        fit(module, callback)
        runs.append(module.taus)
    assert runs[0] == runs[1]
    assert runs[0][0] == 2.0


class Sampling(Learner):
    """Learner with a relaxed choice."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.choice = RelaxedCategorical(GumbelSoftmax())
        self.net = nn.Sequential(nn.Linear(5, 4), self.choice, nn.Linear(4, 1))


@pytest.mark.parametrize("way", ["automatic", "manual"])
def test_a_resumed_fit_is_the_fit_that_was_never_cut(way: str, tmp_path: Path) -> None:
    def run(folder: str, start: Path | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        torch.manual_seed(0)
        callback = Quick(every=2, examples=3)
        found = fit_and_save(tmp_path / folder, start, module=Sampling(manual=way == "manual"), callbacks=[callback])
        return found, callback.state_dict()

    whole, state = run("whole")
    assert state["control"]["tau"] < 2.0
    for number, path in enumerate(chosen(tmp_path / "whole")):
        resumed, again = run(f"resumed{number}", path)
        assert differences(whole, resumed) == [], path.name
        assert again == state, path.name


def steer_on_ranks(port: int) -> tuple[list[float], list[float], dict[str, Any], list[float]]:
    rank = torch.distributed.get_rank()
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "NODE_RANK": "0",
        "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    module, callback = Steered(), Quick(every=2)
    options: dict[str, Any] = {"devices": 2, "strategy": "ddp", "use_distributed_sampler": False}
    fit(module, callback, data=rank, **options)
    return module.taus, callback.noises, callback.control.state_dict(), module.losses


def test_ranks_take_the_same_step() -> None:
    first, second = run_on_ranks(steer_on_ranks, free_port())
    assert first[:3] == second[:3]
    assert first[3] != second[3]  # the losses of their own examples
    expected = statistics.stdev(first[3][:2] + second[3][:2]) / 2  # of four losses
    assert first[1][0] == pytest.approx(expected, rel=1e-4)
    assert len(set(first[0])) > 2


class Learned(Steered):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"mix": nn.Softmax(-1)})
        self.quantizer.sample.temperature = self.choice.temperature = Temperature(learnable=True)


class NoTemperature(Steered):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"mix": nn.Softmax(-1)})
        self.quantizer, self.choice = nn.Identity(), nn.Identity()  # type: ignore[assignment]


class Unused(Steered):
    def __init__(self) -> None:
        super().__init__()
        self.choice = RelaxedCategorical(LeaveOneOut())


class NoLoss(Steered):
    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        self.loss(batch[0]).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("make", "others", "options", "said"),
    [
        (Learned, [], {}, ["finds nothing to set", "learned"]),
        (NoTemperature, [], {}, ["NoTemperature", "no Temperature"]),
        (Unused, [], {}, ["choice.temperature", "LeaveOneOut", "leave it out"]),
        (Steered, [TemperatureAnnealing(Constant(1.0))], {}, ["two callbacks", "the measured bias", "Constant"]),
        (
            Steered,
            [AdaptiveTemperature(every=3, only="choice.*")],
            {},
            ["two callbacks", "choice.temperature", "Remove one"],
        ),
        (Steered, [], {"max_epochs": -1, "max_steps": -1}, ["AdaptiveTemperature", "length of the run is unknown"]),
        (lambda: NoLoss(manual=True), [], {}, ["no loss", "manual_backward"]),
    ],
)
def test_what_it_cannot_steer(make: Any, others: list[Callback], options: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        fit(make(), AdaptiveTemperature(every=4), *others, **options)
    assert all(part in str(caught.value) for part in said), caught.value
    assert "\n" not in str(caught.value)


def test_a_search_has_no_examples_to_repeat() -> None:
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=1
    )
    trainer.callbacks.append(AdaptiveTemperature(every=1))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"holds none \(it is int\): take a schedule"):
        trainer.fit(MODELS["SequenceDesigner"]())


@pytest.mark.parametrize("arguments", [{"every": 0}, {"examples": 0}, {"minimum": 2.0}])
def test_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        AdaptiveTemperature(**arguments)


class Skips(LightningModule):
    """Leaves out a batch whose loss is not finite, as that of a discrete sample is here."""

    def __init__(self) -> None:
        super().__init__()
        self.logits, self.choice = nn.Linear(4, 6), RelaxedCategorical(GumbelSoftmax(), 2.0)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor | None:
        loss = -self.choice(self.logits(batch)).log().mean()
        return loss if loss.isfinite() else None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_batch_that_the_discrete_pass_leaves_out_is_not_measured() -> None:
    torch.manual_seed(0)
    steering = Keeps(every=2)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(max_steps=6, callbacks=[steering], enable_model_summary=False, **options)  # type: ignore[arg-type]
    trainer.fit(Skips(), torch.utils.data.DataLoader(torch.randn(48, 4), batch_size=8))
    assert steering.biases
    assert all(math.isnan(each) for each in steering.biases)
