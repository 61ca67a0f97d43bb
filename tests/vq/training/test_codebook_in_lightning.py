"""A VectorQuantizer inside a LightningModule of one's own, which needs no callback and no call."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from discrete_lightning.nn import VectorQuantizer
from tests.vq.moving_codes import MovingCodes

pytestmark = pytest.mark.filterwarnings(
    "ignore:Be aware that when using `ckpt_path`, callbacks",
)


class Model(LightningModule):
    """An encoder, a codebook and what entered it, batch by batch."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(3, 3)
        self.quantizer = VectorQuantizer(6, 3, decay=0.8, **options)
        self.decoder = nn.Linear(3, 3)
        self.entered: list[Tensor] = []

    def loss(self, batch: Tensor) -> Tensor:
        vectors = self.encoder(batch)
        self.entered.append(vectors.detach())
        result = self.quantizer(vectors)
        return (self.decoder(result.quantized) - batch).square().mean() + result.loss

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.01)

    def train_dataloader(self) -> DataLoader[Tensor]:
        data = torch.randn(70, 3, generator=torch.Generator().manual_seed(1))
        return DataLoader(data, batch_size=10)  # type: ignore[arg-type]


class Adversarial(Model):
    """Two optimisers that step in turn; each half passes through the codebook once. That of the encoder counts."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> None:  # type: ignore[override]
        for optimizer, half in zip(self.optimizers(), batch.chunk(2), strict=True):  # type: ignore[arg-type]
            optimizer.zero_grad()
            self.manual_backward(self.loss(half))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(part.parameters(), lr=0.01) for part in (self.encoder, self.decoder)]


class WithValidation(Model):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        assert self.quantizer(self.encoder(batch)).quantized.isfinite().all()

    def val_dataloader(self) -> DataLoader[Tensor]:
        return self.train_dataloader()


def fit(model: Model, *callbacks: Callback, ckpt_path: Path | None = None, **options: Any) -> Model:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    saves = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    quiet |= {"enable_checkpointing": saves, "max_epochs": 2, "callbacks": list(callbacks)}
    Trainer(**{**quiet, **options}).fit(model, ckpt_path=ckpt_path)
    return model


@pytest.mark.parametrize(
    ("kind", "options", "windows"),
    [
        (Model, {}, [1] * 14),
        (Model, {"accumulate_grad_batches": 3}, [3, 3, 1] * 2),
        (Model, {"accumulate_grad_batches": 3, "precision": "bf16-mixed"}, [3, 3, 1] * 2),
        (Model, {"precision": "bf16-true"}, [1] * 14),
        (Model, {"precision": "64-true"}, [1] * 14),
        (Adversarial, {}, [1, *[2] * 13]),  # the last half of the last batch is left over
    ],
    ids=["plain", "accumulation", "bf16-mixed", "bf16-true", "64-true", "two_optimizers"],
)
def test_statistics_once_per_optimiser_step(kind: type[Model], options: dict[str, Any], windows: list[int]) -> None:
    model = kind(kmeans_iterations=0, revive_below=0.0)
    layer = model.quantizer
    expected = MovingCodes(layer.codes, layer.counts, layer.sums, layer.decay)
    fit(model, **options)
    assert len(model.entered) - sum(windows) == (kind is Adversarial)
    batches = iter(model.entered)
    for window in windows:
        expected.step(torch.cat([next(batches) for _ in range(window)]))
    assert layer.updates.item() == len(windows)
    for name in ("counts", "sums", "codes"):
        assert getattr(layer, name).dtype == torch.float32
        torch.testing.assert_close(getattr(layer, name).double(), getattr(expected, name), rtol=1e-4, atol=1e-5)


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = fit(Model(revive_below=0.5), ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}"), max_epochs=3)
    resumed = fit(Model(revive_below=0.5), ckpt_path=tmp_path / "epoch=0.ckpt", max_epochs=3)
    assert whole.quantizer.updates.item() == resumed.quantizer.updates.item() == 21
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.parametrize("use_buffers", [True, False])
def test_weight_averaging(tmp_path: Path, use_buffers: bool) -> None:
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}")
    model = fit(WithValidation(), EMAWeightAveraging(decay=0.9, use_buffers=use_buffers), saver)
    state = torch.load(tmp_path / "epoch=1.ckpt", weights_only=True)
    assert state["current_model_state"]["quantizer.updates"].item() == 14
    for each in (state["state_dict"], state["current_model_state"], model.state_dict()):
        assert each["quantizer.started"].item() is True
        used = each["quantizer.counts"] > 0
        assert used.sum() > 3
        torch.testing.assert_close(
            each["quantizer.codes"][used], (each["quantizer.sums"] / each["quantizer.counts"][:, None])[used],
            atol=0.2, rtol=0,
        )  # fmt: skip
