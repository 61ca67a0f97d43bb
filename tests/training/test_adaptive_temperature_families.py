"""A model of each family under AdaptiveTemperature: the run is the one whose temperatures were set by hand."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything

from discrete_lightning.callbacks import AdaptiveTemperature
from discrete_lightning.estimators import GumbelSoftmax, StraightThroughGumbel
from discrete_lightning.models import FeatureSelection, VQAutoencoder
from discrete_lightning.nas.training.method import GDAS
from discrete_lightning.nn import GumbelQuantizer, Temperature
from tests.tables.makers import MODELS
from tests.tables.test_models import run
from tests.tiny_images import tiny_search

PLAIN = ("BernoulliVAE", "CategoricalVAE", "JudgedGenerator", "PatternLearning", "RoutedNetwork")
FAMILIES: dict[str, Any] = {
    "ArchitectureSearch": lambda: tiny_search(GDAS(temperature=None)),
    "VQAutoencoder": lambda: VQAutoencoder(GumbelQuantizer(6, 2), estimator=StraightThroughGumbel(), hidden=4),
    **{
        name: MODELS[name]
        for name in ("BernoulliVAE", "CategoricalVAE", "JudgedGenerator", "PatternLearning", "RoutedNetwork")
    },
}


class Noted(AdaptiveTemperature):
    """Notes what each batch had, and moves without noise; or sets what was noted, and measures nothing."""

    def __init__(self, noted: list[float] | None = None) -> None:
        super().__init__(every=1, examples=3)
        self.noted, self.replayed, self.biases = [] if noted is None else noted, noted is not None, 0

    def _standard_error(self, device: torch.device) -> float:
        return 0.0

    def _measure(self, trainer: Any, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self.replayed:
            super()._measure(trainer, pl_module, batch, batch_idx)
            self.biases += self.control.bias != 0

    def _set(self, trainer: Any, batch_idx: int = 0) -> None:
        if self.replayed:
            self.control.state.tau = self.noted[min(self._count, len(self.noted) - 1)]
        else:
            self.noted.append(self.control.tau)
        self._count += 1
        super()._set(trainer, batch_idx)

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._count = 0


def left(name: str, callback: Noted) -> dict[str, Any]:
    seed_everything(0, verbose=False)
    model = FAMILIES[name]()
    options = {"max_epochs": 1, "limit_train_batches": 5, "log_every_n_steps": 100}
    trainer = run("fit", name, model, callbacks=[callback], **options)
    return {
        "state": {key: each for key, each in model.state_dict().items() if isinstance(each, torch.Tensor)},
        "optimizers": [each.state_dict()["state"] for each in trainer.optimizers],
        "modes": [each.training for each in model.modules()],
        "taus": [each().item() for each in model.modules() if isinstance(each, Temperature)],
        "draws": [torch.rand(()).item(), np.random.rand(), random.random()],
    }


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # models write there what they start from


@pytest.mark.filterwarnings("ignore:the choices are still undecided", "ignore:.*skip connections")
@pytest.mark.parametrize("name", FAMILIES)
def test_the_run_is_that_of_temperatures_set_by_hand(name: str) -> None:
    steered = Noted()
    found = left(name, steered)
    assert steered.biases
    expected = left(name, Noted(steered.noted))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_a_model_that_makes_its_gradients_itself_is_refused() -> None:
    model = FeatureSelection(2, gate=GumbelSoftmax(), columns=4, classes=3)
    with pytest.raises(ValueError, match="no loss in the training step of FeatureSelection"):
        run("fit", "FeatureSelection", model, callbacks=[AdaptiveTemperature(every=1)], max_epochs=1)
