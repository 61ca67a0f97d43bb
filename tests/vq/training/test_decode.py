"""`decode`: codes that predict wrote, back to images or sounds, and files that are refused."""

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from discrete_lightning.cli import main
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import ProductQuantizer, ResidualQuantizer, VectorQuantizer
from tests.cli.outcome import Cli
from tests.small_mnist import few_batches, write_small_mnist

CONFIG = "vq/fashion_residual"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a residual stack, with the codes of its prediction set."""
    folder = tmp_path_factory.mktemp("decode")
    options = few_batches(CONFIG, write_small_mnist(folder / "data"), folder)
    assert main(["fit", "-c", CONFIG, *options]) == 0
    (config,) = folder.rglob("config.yaml")
    assert main(["predict", "-c", str(config.parent), "--run_dir", str(folder / "predicted")]) == 0
    return config.parent


def codes_of(run: Path) -> Path:
    (path,) = run.parent.parent.rglob("codes.npz")
    return path


def test_codes_become_the_images_of_the_model(run: Path, cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "images"
    outcome = cli("decode", "-c", str(run), "--codes", str(codes_of(run)), "--run_dir", str(target))
    assert outcome.code == 0, outcome.err
    assert "images.npz" in outcome.out
    codes = torch.from_numpy(np.load(codes_of(run))["codes"])
    images = np.load(target / "images.npz")["images"]
    assert images.dtype == np.uint8
    assert images.shape == (len(codes), 1, 28, 28)
    assert (target / "images.png").exists()
    model = VQAutoencoder(ResidualQuantizer(VectorQuantizer(256, 64), 4), hidden=64).eval()
    model.load_state_dict(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    with torch.no_grad():
        expected = (model.decode(codes).clamp(0, 1) * 255).round().byte().numpy()
    assert np.abs(images.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 7, 7, 4), 999), "codes of codebook/0 lie in [0, 255], or are -1 for no code; got 999 to 999"),
        (np.full((2, 7, 7, 4), -2), "got -2 to -2"),
        (np.zeros((2, 7, 7), dtype=np.int64), "codes are integers of shape (N, h, w, 4), got torch.int64 (2, 7, 7)"),
        (np.zeros((2, 7, 7, 4)), "codes are integers, and"),
        (np.zeros((0, 7, 7, 4), dtype=np.int64), "holds no codes"),
    ],
)
def test_codes_of_another_model(run: Path, cli: Cli, tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "codes.npy", array)
    target = tmp_path / "images"
    outcome = cli("decode", "-c", str(run), "--codes", str(tmp_path / "codes.npy"), "--run_dir", str(target))
    assert outcome.code == 1
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not target.exists()


def test_files_that_hold_no_codes(run: Path, cli: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", labels=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    for name, message in (
        ("absent.npz", "No such file"),
        ("other.npz", "has no array `codes`, only labels"),
        ("broken.npz", "cannot be read"),
    ):
        outcome = cli("decode", "-c", str(run), "--codes", str(tmp_path / name), "--run_dir", str(tmp_path / "x"))
        assert outcome.code == 1
        assert message in outcome.err
        assert not (tmp_path / "x").exists()
    outcome = cli("decode", "-c", str(run))
    assert outcome.code == 2
    assert "--codes FILE" in outcome.err


def test_sounds_to_codes_and_back(cli: Cli, tmp_path: Path) -> None:
    """Recordings have different lengths: `predict` writes their codes, and `decode` a WAV file for each."""
    options = few_batches("vq/speech", tmp_path, tmp_path)
    assert main(["fit", "-c", "vq/speech", *options]) == 0
    (config,) = tmp_path.rglob("config.yaml")
    assert main(["predict", "-c", str(config.parent), "--run_dir", str(tmp_path / "predicted")]) == 0
    path = tmp_path / "predicted" / "codes.npz"
    held = np.load(path)
    codes, lengths = held["codes"], held["codes_lengths"]
    assert codes.shape == (lengths.sum(), 8)
    assert len(set(lengths.tolist())) > 1
    np.savez(tmp_path / "fewer.npz", codes=codes[:, :2], codes_lengths=lengths)
    np.save(tmp_path / "even.npy", codes[:20].reshape(2, 10, 8))
    for name, counts in ((path, lengths), (tmp_path / "fewer.npz", lengths), (tmp_path / "even.npy", [10, 10])):
        target = tmp_path / f"decoded-{name.stem}"
        outcome = cli("decode", "-c", str(config.parent), "--codes", str(name), "--run_dir", str(target))
        assert outcome.code == 0, outcome.err
        assert f"{len(counts)} sounds: " in outcome.out
        for number, count in enumerate(counts, start=1):
            with wave.open(str(target / "decoded" / f"{number}.wav")) as file:
                assert (file.getframerate(), file.getnframes()) == (8000, 64 * count)
    np.savez(tmp_path / "fewer.npz", codes=codes, codes_lengths=lengths[:-1])
    outcome = cli("decode", "-c", str(config.parent), "--codes", str(tmp_path / "fewer.npz"))
    assert "codes_lengths are integers (N,) of 1 or more that add up to" in outcome.err


def test_a_model_without_decode(toy: Cli, cli: Cli, tmp_path: Path) -> None:
    assert toy("fit").code == 0
    np.save(tmp_path / "codes.npy", np.zeros((2, 7, 7), dtype=np.int64))
    (run,) = Path("runs/toy").iterdir()
    outcome = cli("decode", "-c", str(run), "--trust", "tests", "--codes", str(tmp_path / "codes.npy"))
    assert outcome.code == 1
    assert "which Toy does not have" in outcome.err


def test_the_checks_are_the_models_own() -> None:
    model = VQAutoencoder(ProductQuantizer(VectorQuantizer(8, 4), 2), hidden=8)
    assert model.decode(torch.zeros(2, 7, 7, 2, dtype=torch.int64)).shape == (2, 1, 28, 28)
    with pytest.raises(ValueError, match=r"codebook/1 lie in \[0, 7\], or are -1 for no code; got 0 to 8"):
        model.decode(torch.tensor([[[[0, 0]] * 7] * 6 + [[[0, 8]] * 7]]))
