"""CodebookMonitor, Reconstructions and CodeWriter on modules of a user's own."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.callbacks import CodebookMonitor, CodeWriter, Reconstructions
from discrete_lightning.nn import (
    FiniteScalarQuantizer,
    LargeGumbelQuantizer,
    LearnedVectorQuantizer,
    LookupFreeQuantizer,
    ResidualQuantizer,
    VectorQuantizer,
)
from discrete_lightning.training.pictures import image_grid
from discrete_lightning.training.run_files import fresh_path


class Codes(LightningModule):
    """A user's module that holds our codebook: 4 x 4 images to 4 vectors of 4."""

    def __init__(self, num_codes: int = 8, **arguments: Any) -> None:
        super().__init__()
        self.scale = nn.Linear(4, 4)
        self.book = VectorQuantizer(num_codes, 4, **arguments)

    def reconstruct(self, images: Tensor) -> Tensor:
        return self.book(self.scale(images.view(-1, 4, 4))).quantized.view_as(images).clamp(0, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        quantized = self.book(self.scale(batch[0].view(-1, 4, 4)))
        return quantized.quantized.square().mean() + quantized.loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        pass

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        return {"codes": self.book(self.scale(batch[0].view(-1, 4, 4))).indices, "labels": batch[1]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def images(count: int = 32) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.rand(count, 1, 4, 4, generator=generator), torch.arange(count)), batch_size=8)


def trainer(folder: Path, *callbacks: Any, epochs: int = 3, csv_file: bool = True) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=CSVLogger(folder, name="", version="") if csv_file else False,
        default_root_dir=folder,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def logged(folder: Path, column: str) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


def test_monitor_logs_use_and_draws(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trainer(tmp_path, CodebookMonitor()).fit(Codes(), images(), images())
    assert logged(tmp_path, "codes/live_share") == [1.0] * 3
    assert all(1 < value <= 8 for value in logged(tmp_path, "codes/perplexity"))
    with Image.open(tmp_path / "codes.png") as picture:
        assert min(picture.size) > 100


def test_monitor_warns_once_of_a_collapse_and_names_the_knob(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Codes(num_codes=64, kmeans_iterations=0, revive_below=0.0)
    model.book.codes[1:] += 1e3  # one code near the data
    with pytest.warns(UserWarning, match="'?book'? has collapsed: 2% of its 64 codes.*revive_below") as caught:
        trainer(tmp_path, CodebookMonitor(), epochs=5).fit(model, images(), images())
    assert len([warning for warning in caught if "collapsed" in str(warning.message)]) == 1


def test_monitor_counts_nothing_after_fit(tmp_path: Path) -> None:
    model = Codes()
    trainer(tmp_path, CodebookMonitor(filename=None)).fit(model, images(), images())
    assert not model.book._forward_hooks


@pytest.mark.parametrize("callback", [CodebookMonitor(), Reconstructions()])
def test_says_what_it_misses(tmp_path: Path, callback: Any) -> None:
    class Other(Codes):
        reconstruct = None  # type: ignore[assignment]

    model = Other()
    model.book = nn.Identity()  # type: ignore[assignment]
    with pytest.raises((ValueError, TypeError), match=r"Other.*leave"):
        trainer(tmp_path, callback).fit(model, images(), images())


def test_reconstructions_are_written_beside_the_originals(tmp_path: Path) -> None:
    (tmp_path / "reconstructions.png").write_text("from before")
    trainer(tmp_path, Reconstructions(count=5), csv_file=False).fit(Codes(), images(), images())
    assert (tmp_path / "reconstructions.png").read_text() == "from before"  # nothing is overwritten
    with Image.open(tmp_path / "reconstructions-2.png") as picture:
        assert picture.size == (5 * 4 * 2, 2 * 4 * 2)
        originals = torch.from_numpy(np.array(picture))[::2, ::2][:4].float() / 255
    expected = image_grid(next(iter(images()))[0][:5], columns=5)[0]
    assert torch.allclose(originals, expected, atol=1 / 255)


def test_predict_writes_codes_in_the_order_of_the_data(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Codes()
    trainer(tmp_path, CodeWriter()).predict(model, images(20), return_predictions=False)
    with np.load(tmp_path / "codes.npz") as file:
        assert file["labels"].tolist() == list(range(20))
        batch = torch.cat([batch for batch, _ in images(20)])
        expected = model.eval().predict_step([batch, torch.arange(20)], 0)["codes"]
        assert np.array_equal(file["codes"], expected.numpy())


def test_code_writer_says_what_it_needs(tmp_path: Path) -> None:
    class Bare(Codes):
        def predict_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            return batch[1]

    with pytest.raises(TypeError, match="Bare returned Tensor"):
        trainer(tmp_path, CodeWriter()).predict(Bare(), images(), return_predictions=False)


def test_fresh_path_never_names_an_existing_file(tmp_path: Path) -> None:
    for expected in ("a.png", "a-2.png", "a-3.png"):
        path = fresh_path(tmp_path, "a.png")
        assert path.name == expected
        path.touch()


def test_monitor_tells_several_codebooks_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Codes()
    model.book = ResidualQuantizer(VectorQuantizer(8, 4), 2)  # type: ignore[assignment]
    trainer(tmp_path, CodebookMonitor(), epochs=2).fit(model, images(), images())
    for stage in range(2):
        assert len(logged(tmp_path, f"codes/book.quantizers.{stage}/live_share")) == 2
        assert all(1 < value <= 8 for value in logged(tmp_path, f"codes/book.quantizers.{stage}/perplexity"))
    assert (tmp_path / "codes.png").exists()


@pytest.mark.parametrize(
    ("book", "remedy"),
    [
        (LearnedVectorQuantizer(64, 4, kmeans_iterations=0, revive_below=0.0), "raise revive_below"),
        (LookupFreeQuantizer(4, entropy=0.0), "raise entropy or gamma"),
        (FiniteScalarQuantizer([15, 15, 15, 15]), "fewer levels"),
        (LargeGumbelQuantizer(64, 4), "raise marginal_entropy"),
    ],
)
def test_the_warning_names_the_knob_of_each_kind(tmp_path: Path, book: Any, remedy: str) -> None:
    torch.manual_seed(0)
    model = Codes()
    model.scale.weight.data.zero_()
    model.scale.bias.data.fill_(0.1)  # all vectors are one
    if isinstance(book, LargeGumbelQuantizer):
        book.to_logits.bias.data[0] = 100.0
    model.book = book
    with pytest.warns(UserWarning, match=f"has collapsed.*{remedy}"):
        trainer(tmp_path, CodebookMonitor(filename=None, patience=1), epochs=1).fit(model, images(), images())
