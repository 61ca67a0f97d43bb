"""Callbacks find what a model logs: every metric can be monitored, in every family, whatever `log_every_n_steps`; and
`ckpt_path="best"` and `"last"` work in every stage.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from discrete_lightning.callbacks import ChoiceMonitor, CodebookMonitor
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import GumbelQuantizer, ProductQuantizer, Temperature
from tests.tables.makers import MODELS
from tests.tables.test_models import built, data, has
from tests.tiny_images import quiet_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:the choices are still undecided"),
    pytest.mark.filterwarnings("ignore:The `training_step` returned"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]
_LOSS = {"SequenceDesigner": "best_score"}  # what is minimised or maximised, where it is not called train/loss


def several() -> LightningModule:
    temperature = Temperature(1.0, 0.1, learnable=True)
    return VQAutoencoder(
        ProductQuantizer(GumbelQuantizer(6, 2, temperature=temperature), 2), choice_entropy=0.01, hidden=4
    )


def make(name: str) -> LightningModule:
    if name == "VQAutoencoder of several":
        seed_everything(0, verbose=False)
        return several()
    return built(name)


def fit(name: str, every: int, folder: Path, *callbacks: Callback, **arguments: Any) -> Trainer:
    watching = [CodebookMonitor(filename=None), ChoiceMonitor(filename=None)] if name.endswith("several") else []
    trainer = quiet_trainer(
        max_epochs=2, limit_train_batches=3, limit_val_batches=1, log_every_n_steps=every, default_root_dir=folder,
        callbacks=[*callbacks, *watching], enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        **arguments,
    )  # fmt: skip
    seed_everything(1, verbose=False)
    trainer.fit(make(name), data(name))
    return trainer


def keys(trainer: Trainer) -> set[str]:
    return {name for name in {**trainer.callback_metrics, **trainer.progress_bar_metrics} if name != "v_num"}


@pytest.mark.parametrize("name", [*MODELS, "VQAutoencoder of several"])
def test_every_metric_can_be_monitored(name: str, tmp_path: Path) -> None:
    found = keys(fit(name, 1, tmp_path))
    assert _LOSS.get(name, "train/loss") in found
    rarely = fit(name, 50, tmp_path)
    assert keys(rarely) == found  # nothing is missing in a run with fewer batches than log_every_n_steps
    checkpoints = [ModelCheckpoint(tmp_path / str(i), monitor=key) for i, key in enumerate(sorted(found))]
    stopping = [EarlyStopping(key, patience=99, check_finite=False) for key in sorted(found)]
    fit(name, 50, tmp_path, *checkpoints, *stopping)
    for callback in (*checkpoints, *stopping):
        score = callback.best_model_score if isinstance(callback, ModelCheckpoint) else callback.best_score
        assert score is not None, callback.monitor


@pytest.mark.parametrize("name", MODELS)
def test_best_and_last_in_every_stage(name: str, tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor=_LOSS.get(name, "train/loss"), save_last=True)
    trainer = fit(name, 50, tmp_path, checkpoint, limit_test_batches=1, limit_predict_batches=1)
    trained: Any = trainer.lightning_module
    for which in ("last", "best"):
        for stage in ("validate", "test", "predict"):
            if has(trained, f"{stage.replace('validate', 'validation')}_step"):
                getattr(trainer, stage)(make(name), data(name), ckpt_path=which)
    loaded = type(trained).load_from_checkpoint(checkpoint.best_model_path)
    saved = torch.load(checkpoint.best_model_path, weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[key]) for key, value in loaded.named_parameters())
    again = quiet_trainer(
        max_epochs=3, limit_train_batches=3, limit_val_batches=1, enable_checkpointing=True,
        callbacks=[ModelCheckpoint(tmp_path, monitor=_LOSS.get(name, "train/loss"), save_last=True)],
    )  # fmt: skip
    again.fit(make(name), data(name), ckpt_path="last")
    assert again.current_epoch == 3 or name == "SequenceDesigner"  # a finished search ends at once
