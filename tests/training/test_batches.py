"""Batches of any form, streams and several loaders, in every family."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from discrete_lightning.models import (
    GDAS,
    SNAS,
    ArchitectureSearch,
    ArchitectureTraining,
    CategoricalVAE,
    VQAutoencoder,
)
from discrete_lightning.nn import GumbelQuantizer, NASBench201
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.check_data import check_data
from tests.tiny_images import quiet_trainer

SPACE = NASBench201(channels=2, nodes=3, stages=1)
TASK: dict[str, Any] = {"image_shape": (1, 8, 8), "classes": 3}
MODELS: dict[str, Callable[[], LightningModule]] = {
    "VQAutoencoder": lambda: VQAutoencoder(GumbelQuantizer(8, 4), hidden=4),
    "CategoricalVAE": lambda: CategoricalVAE(3, 4, hidden=[8], pixels=64, bound_samples=2),
    "ArchitectureSearch": lambda: ArchitectureSearch(SNAS(), SPACE, **TASK),
    "ArchitectureTraining": lambda: ArchitectureTraining(SPACE, ["skip", "conv3x3", "none"], **TASK),
}
FORMS: dict[str, Callable[[Tensor, int], Any]] = {
    "tensor": lambda image, label: image,
    "three": lambda image, label: (image, label, "a.png"),
    "mapping": lambda image, label: {"pixel_values": image, "labels": label},
}


class Stream(IterableDataset[Any]):
    """Images of one brightness each; the data module of a user who cannot hold them in memory."""

    def __init__(self, count: int, form: str, brightness: float = 1.0) -> None:
        self.count, self.form, self.brightness = count, form, brightness

    def __iter__(self) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(0)
        for i in range(self.count):
            yield FORMS[self.form](self.brightness * torch.rand(1, 8, 8, generator=generator), i % 3)


class Streams(LightningDataModule):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Stream(12, self.form), batch_size=4)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [DataLoader(Stream(6, self.form, brightness), batch_size=4) for brightness in (1.0, 0.1)]

    test_dataloader = predict_dataloader = val_dataloader


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("VQAutoencoder", "tensor"),
        ("CategoricalVAE", "mapping"),
        ("ArchitectureSearch", "three"),
        ("ArchitectureTraining", "mapping"),
    ],
)
def test_streams_in_any_form_of_batch_in_any_order_of_stages(name: str, form: str) -> None:
    model, data = MODELS[name](), Streams(form)
    quiet_trainer().validate(model, data, verbose=False)
    trainer = quiet_trainer()
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    first, second = trainer.predict(model, data) or []
    assert [len(next(iter(batch.values()))) for batch in (*first, *second)] == [4, 2, 4, 2]
    assert ("labels" in first[0]) == (form != "tensor")  # type: ignore[operator]
    figures = trainer.validate(model, data, verbose=False)
    # each loader's figures are its own, as if it were the only one
    for loader, theirs in zip(data.val_dataloader(), figures, strict=True):
        (alone,) = quiet_trainer().validate(model, loader, verbose=False)
        for key, value in alone.items():
            if "as_searched" not in key and "gap" not in key:  # these draw
                (found,) = [each for label, each in theirs.items() if label.rpartition("/dataloader_idx_")[0] == key]
                assert found == pytest.approx(value, rel=1e-5), key


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({"picture": torch.zeros(2, 1, 8, 8)}, r"a mapping of picture: tensor \(2, 1, 8, 8\)"),
        ([["a.png", "b.png"], torch.zeros(2)], r"a list of 2: list, tensor \(2,\)"),
        ("a.png", "served str"),
        ((), "a tuple of 0: nothing"),
        (torch.zeros(()), r"served tensor \(\)"),
    ],
)
def test_a_batch_that_cannot_be_read_is_named(batch: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        examples_of(batch)


@pytest.mark.parametrize("name", ["VQAutoencoder", "CategoricalVAE"])
@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((2, 1, 8, 8), 7, dtype=torch.uint8), r"torch.uint8: .* images.float\(\) / 255"),
        (torch.full((2, 1, 8, 8), 200.0), r"\[0, 1\], and a batch holds 200 to 200: divide them"),
        (torch.full((2, 1, 8, 8), -1.0), "holds -1 to -1: do not standardise"),
        (torch.full((2, 1, 8, 8), torch.nan), "holds NaN"),
        (torch.zeros(2, 3, 8, 8), r"(channels|pixels)=\d+ \(model\.(channels|pixels)"),
        (torch.zeros(2, 8, 8, 1), None),
        (torch.zeros(2, 1, 9, 9), "9"),
    ],
)
def test_images_that_do_not_fit_are_named_before_training(name: str, images: Tensor, words: str | None) -> None:
    model: Any = MODELS[name]()
    if words is None and name == "CategoricalVAE":
        return  # takes the values in any order
    with pytest.raises(ValueError, match=words or r"movedim\(-1, 1\)"):
        model.check_batch(images)


def test_labels_that_do_not_fit_are_named() -> None:
    model: Any = MODELS["ArchitectureTraining"]()
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match="needs labels, and the data serves images without"):
        model.check_batch(images)
    for labels, words in (
        (torch.tensor([0, 3]), "classes is 3, and a label is 3"),
        (torch.tensor([-1, 0]), "a label is -1"),
        (torch.zeros(2, 3), r"one integer for each image, .* torch.float32 of shape \(2, 3\).*argmax"),
    ):
        with pytest.raises(ValueError, match=words):
            model.check_batch((images, labels))
    assert model.examples((images, torch.tensor([[1], [2]], dtype=torch.uint8)))[1].tolist() == [1, 2]


def test_a_search_is_compared_with_both_halves() -> None:
    class Halves(LightningDataModule):
        def train_dataloader(self) -> Any:
            from lightning.pytorch.utilities import CombinedLoader

            images = torch.zeros(4, 1, 8, 8)
            parts = {"weights": images, "architecture": images[:, :, :4]}
            loaders = {name: DataLoader([(each, 0) for each in part], batch_size=2) for name, part in parts.items()}
            return CombinedLoader(loaders, "min_size")

    with pytest.raises(ValueError, match=r"serves images of \[1, 4, 8\]"):
        check_data(ArchitectureSearch(GDAS(), SPACE, **TASK), Halves())
