"""GradientProbe on and off, in all families: weights, buffers, optimisers, metrics, monitors, averages and random states are
equal to the last bit, and an exception in one of its passes leaves nothing behind.
"""

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from discrete_lightning.callbacks import ChoiceMonitor, GradientProbe, TemperatureAnnealing
from discrete_lightning.estimators import LeaveOneOut, ReinMax, StraightThrough
from discrete_lightning.models import BernoulliVAE, CategoricalVAE, VQAutoencoder
from discrete_lightning.nn import (
    GumbelQuantizer,
    ProductQuantizer,
    RelaxedCategorical,
    ResidualQuantizer,
    Temperature,
    VectorQuantizer,
)
from discrete_lightning.schedules import Linear
from tests.tables.holder import Memory, hooks
from tests.tables.makers import MODELS
from tests.tables.test_models import data
from tests.tiny_images import TinyImages, quiet_trainer


class Mixed(VQAutoencoder):
    """Nearest codes with moving averages after a sampled gate, batch statistics, dropout, and randomness of three libraries."""

    def __init__(self) -> None:
        super().__init__(ResidualQuantizer(VectorQuantizer(8, 4), 2), hidden=4)
        self.gate = RelaxedCategorical(temperature=2.0)
        self.encoder = torch.nn.Sequential(self.encoder, torch.nn.BatchNorm1d(7), torch.nn.Dropout(0.1))
        self.fails = False

    def encode(self, images: Tensor) -> Any:
        hidden = self.encoder[0](images)
        hidden = self.encoder[2](self.encoder[1](hidden.flatten(2)).view_as(hidden))
        return self.quantizer(hidden * self.gate(hidden))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.fails:
            raise RuntimeError("in a pass of the probe")
        images = batch[0] + 0.1 * np.random.rand() + 0.1 * random.random()  # as data augmentation does
        self.logger.log_metrics({"own": float(images.mean())}, self.global_step)  # type: ignore[union-attr]
        return super().training_step((images, batch[1]), batch_idx)


def _gumbel(learned: bool = False) -> GumbelQuantizer:
    return GumbelQuantizer(6, 2, temperature=Temperature(1.0, 0.1, learnable=learned))


SUBJECTS: dict[str, Any] = {
    "gumbel": lambda: VQAutoencoder(_gumbel(), choice_entropy=0.1, hidden=4),
    "residual of products": lambda: VQAutoencoder(
        ResidualQuantizer(ProductQuantizer(_gumbel(), 2), 2), diversity=0.1, hidden=4
    ),
    "moving averages": Mixed,
    "categorical": lambda: CategoricalVAE(3, 3, hidden=[4], bound_samples=1),
    "binary": lambda: BernoulliVAE(4, hidden=[4], bound_samples=1),
}


def everything(model: LightningModule, trainer: Any) -> dict[str, Any]:
    """All that a run leaves behind."""
    metrics = {
        f"{name}.{state}": getattr(each, state)
        for name, each in model.named_modules()
        for state in getattr(each, "_defaults", ())
    }
    average = next(each for each in trainer.callbacks if isinstance(each, EMAWeightAveraging))._average_model
    return {
        "state": {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)},
        "metrics": metrics,
        "optimizer": trainer.optimizers[0].state_dict()["state"],
        "average": {} if average is None else dict(average.state_dict()),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=False)["state"]["key"],  # type: ignore[call-overload,index]
        "python": random.getstate(),
        "mode": [each.training for each in model.modules()],
        "hooks": hooks(model),
    }


def run(name: str, accumulate: int, folder: Path, *callbacks: Any) -> tuple[dict[str, Any], Memory]:
    seed_everything(3, verbose=False)
    model, memory = SUBJECTS[name](), Memory()
    trainer = quiet_trainer(
        max_epochs=1, accumulate_grad_batches=accumulate, logger=memory, log_every_n_steps=1, default_root_dir=folder,
        callbacks=[
            *callbacks, ChoiceMonitor(filename=None), TemperatureAnnealing(Linear(2.0, 1.0, steps=4)),
            EMAWeightAveraging(decay=0.9),
        ],
        limit_train_batches=5, limit_val_batches=1,
    )  # fmt: skip
    trainer.fit(model, TinyImages(batch_size=8))
    return everything(model, trainer), memory


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_run_is_the_same_with_the_probe(name: str, accumulate: int, tmp_path: Path) -> None:
    vae = name in ("categorical", "binary")
    estimators = [LeaveOneOut(2) if vae and name == "categorical" else StraightThrough(), ReinMax()]
    probe = GradientProbe(2, estimators, samples=2, reference_samples=2, batch_size=3)
    found, logged = run(name, accumulate, tmp_path, probe)
    expected, alone = run(name, accumulate, tmp_path)
    assert found.pop("python") == expected.pop("python")
    assert found["numpy"].tolist() == expected["numpy"].tolist()
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    names = {key for _, row in alone.rows for key in row} - {"epoch"}
    assert logged.logged(names) == alone.logged(names)
    assert any(key.startswith("gradient/") for _, row in logged.rows for key in row)


def test_an_exception_in_a_pass_of_the_probe_leaves_nothing() -> None:
    seed_everything(3, verbose=False)
    model = Mixed()
    trainer = quiet_trainer(logger=Memory(), log_every_n_steps=1, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(model, TinyImages(batch_size=8))
    model.train()
    model.fails = True
    probe = GradientProbe(1, samples=2, reference_samples=2)
    probe._batch = next(iter(data("VQAutoencoder").train_dataloader()))  # type: ignore[union-attr]
    before = copy.deepcopy(
        [model.state_dict(), torch.get_rng_state(), random.getstate(), [each.training for each in model.modules()]]
    )
    flags = [each.requires_grad for each in model.parameters()]
    numbers = np.random.get_state(legacy=False)["state"]["key"].copy()  # type: ignore[call-overload,index]
    with pytest.raises(RuntimeError, match="in a pass of the probe"):
        probe.measure(trainer, model)
    after = [model.state_dict(), torch.get_rng_state(), random.getstate(), [each.training for each in model.modules()]]
    torch.testing.assert_close(after[:2], before[:2], rtol=0, atol=0)
    assert after[2:] == before[2:]
    assert [each.requires_grad for each in model.parameters()] == flags
    assert (np.random.get_state(legacy=False)["state"]["key"] == numbers).all()  # type: ignore[call-overload,index]
    assert model.gate.set_estimator.__func__ is RelaxedCategorical.set_estimator


@pytest.mark.parametrize("name", MODELS)
def test_where_it_cannot_measure_it_says_so_before_training(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    if name in ("CategoricalVAE", "BernoulliVAE", "JudgedGenerator"):
        return  # can be measured
    before = copy.deepcopy({key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)})
    with pytest.raises(ValueError, match=r"no discrete layer in|uses manual optimisation") as refusal:
        quiet_trainer(callbacks=[GradientProbe()], default_root_dir=tmp_path).fit(model, data(name))
    assert "\n" not in str(refusal.value)
    after = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)
