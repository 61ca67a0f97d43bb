"""Reconstructions, CodeWriter, pictures and files, on modules of a user's own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.callbacks import CodebookMonitor, CodeWriter, Reconstructions
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import VectorQuantizer
from discrete_lightning.training.pictures import image_grid, save_figure
from discrete_lightning.training.run_files import fresh_path
from discrete_lightning.training.wandb_media import log_histogram, log_video, use_step_axis
from tests.training.user_codebook import Codes, images, trainer


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
        caption = "Validation, end of training (epoch 3): first row images, second row their reconstructions"
        assert picture.info["Description"] == caption
        assert picture.width == 320  # the caption, below, needs more than the images
        originals = torch.from_numpy(np.array(picture))[::2, ::2][:4, : 5 * 4].float() / 255
    expected = image_grid(next(iter(images()))[0][:5], columns=5)[0]
    assert torch.allclose(originals, expected, atol=1 / 255)


def test_captions_say_split_epoch_and_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr("discrete_lightning.training.reconstructions.log_image", lambda *args: sent.append(args[-1]))
    trainer(tmp_path, Reconstructions(), CodebookMonitor(), epochs=2).fit(Codes(), images(), images())
    rows = "first row images, second row their reconstructions"
    assert sent == [f"Validation, epoch 1: {rows}", f"Validation, epoch 2: {rows}"]
    with Image.open(tmp_path / "codes.png") as picture:
        assert picture.info["Description"].startswith("Of all training batches of epoch 2;")


@pytest.mark.parametrize("channels", [2, 5])
def test_pictures_of_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    data = DataLoader(TensorDataset(torch.rand(8, channels, 8, 8)), batch_size=4)
    model = VQAutoencoder(VectorQuantizer(4, 4), hidden=4, channels=channels)
    trainer(tmp_path, Reconstructions(), CodebookMonitor(), epochs=1).fit(model, data, data)
    with Image.open(tmp_path / "reconstructions.png") as picture:
        assert picture.mode == "RGB"
        assert f"channels 1 to {min(3, channels)} of {channels} as red, green" in picture.info["Description"]
        assert np.array(picture)[:16, :16].any()
    assert (tmp_path / "codes.png").exists()


def test_a_picture_never_ends_a_run(tmp_path: Path) -> None:
    class Broken(Codes):
        def reconstruct(self, images: Tensor) -> Tensor:
            raise RuntimeError("no picture today")

        def decode_indices(self, indices: Tensor) -> Tensor:
            raise RuntimeError("no codes either")

    loop = trainer(tmp_path, Reconstructions(), CodebookMonitor(), epochs=1)
    with pytest.warns(UserWarning, match="the run goes on") as caught:
        loop.fit(Broken(), images(), images())
    said = {str(warning.message) for warning in caught}
    assert "reconstructions.png was not drawn (RuntimeError: no picture today); the run goes on" in said
    assert any("no codes either" in each for each in said)
    assert loop.state.finished
    assert (tmp_path / "codes.png").exists()  # the use of the codes is drawn all the same


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


class FakeWandb(WandbLogger):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: dict[str, Any] = {}

    def log_image(self, key: str, images: list[Any], *_: Any, **__: Any) -> None:
        self.sent[key] = images[0]

    def log_video(self, key: str, videos: list[Any], **options: Any) -> None:
        self.sent[key] = videos, options

    @property
    def experiment(self) -> Any:
        def define(name: str, **options: Any) -> None:
            self.sent[name] = options

        return SimpleNamespace(log=lambda values, commit: self.sent.update(values), define_metric=define)


def test_a_figure_is_written_and_sent(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    (tmp_path / "curve.png").write_text("from before")
    wandb = FakeWandb()
    loop: Any = SimpleNamespace(loggers=[wandb], default_root_dir=tmp_path)
    path = save_figure(loop, Figure(figsize=(1, 1)), "curve.png", "a/curve")
    assert path == tmp_path / "curve-2.png"
    assert wandb.sent == {"a/curve": str(path)}
    assert (tmp_path / "curve.png").read_text() == "from before"
    with Image.open(path) as picture:
        assert picture.size == (120, 120)


@pytest.mark.parametrize("size", [3, 512, 1000])
def test_a_histogram_has_all_values_in_at_most_512_bars(size: int) -> None:
    wandb = FakeWandb()
    values = torch.arange(size).float()
    log_histogram(SimpleNamespace(loggers=[wandb]), "usage", values)  # type: ignore[arg-type]
    bars = wandb.sent["usage"].histogram
    assert len(bars) == min(size, 512)
    assert sum(bars) == pytest.approx(values.sum().item())


def test_a_video_goes_to_every_logger_of_wandb() -> None:
    first, second = FakeWandb(), FakeWandb()
    loop: Any = SimpleNamespace(loggers=[first, object(), second])
    log_video(loop, "episode", Path("a.gif"), "return 3")
    assert first.sent == second.sent == {"episode": (["a.gif"], {"caption": ["return 3"], "format": ["gif"]})}


def test_the_axis_of_all_curves() -> None:
    wandb = FakeWandb()
    use_step_axis(SimpleNamespace(loggers=[wandb]), "environment_steps")  # type: ignore[arg-type]
    assert wandb.sent == {"environment_steps": {}, "*": {"step_metric": "environment_steps", "step_sync": True}}
