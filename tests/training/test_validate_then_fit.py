"""One model, validated and trained in turn, as in a notebook."""

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.estimators import DisARM, LeaveOneOut
from discrete_lightning.models import BernoulliVAE, CategoricalVAE, VQAutoencoder
from discrete_lightning.nn import GumbelQuantizer, VectorQuantizer


def data() -> DataLoader[Any]:
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(images, torch.zeros(8, dtype=torch.int64)), batch_size=4)


def trainer() -> Trainer:
    return Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip


VAE = {"hidden": [8], "pixels": 64, "bound_samples": 2}


@pytest.mark.parametrize(
    "model",
    [
        VQAutoencoder(VectorQuantizer(4, 4), hidden=4),
        VQAutoencoder(GumbelQuantizer(4, 4), hidden=4),
        CategoricalVAE(2, 3, **VAE),  # type: ignore[arg-type]
        CategoricalVAE(2, 3, LeaveOneOut(), **VAE),  # type: ignore[arg-type]
        BernoulliVAE(3, DisARM(), **VAE),  # type: ignore[arg-type]
    ],
    ids=lambda model: type(model).__name__,
)
def test_validate_fit_validate_test(model: LightningModule) -> None:
    for stage in ("validate", "fit", "validate", "fit", "test"):
        loop = trainer()
        if stage == "fit":
            loop.fit(model, data(), data())
        else:
            (figures,) = getattr(loop, stage)(model, data(), verbose=False)
            assert all(torch.tensor(value).isfinite() for value in figures.values())
    if isinstance(model, CategoricalVAE | BernoulliVAE) and not model.latent.estimator.pathwise:
        assert figures["test/relaxation_gap"] == 0
