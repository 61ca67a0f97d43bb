from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from discrete_lightning.data import SearchSplit
from discrete_lightning.models import GDAS, ArchitectureSearch
from tests.tiny_images import SPACE, TinyImages, quiet_trainer, tiny_split


def test_halves_are_disjoint_and_whole() -> None:
    weights, architecture = tiny_split().halves()
    assert sorted([*weights.tolist(), *architecture.tolist()]) == list(range(96))
    assert len(weights) == len(architecture)


def test_batches_are_of_the_halves() -> None:
    split = tiny_split()
    pixels = split.data.dataset("train").pixels.float().div(255)
    served = {"weights": [], "architecture": []}  # type: dict[str, list[torch.Tensor]]
    for batch, _, _ in split.train_dataloader():
        for name, (images, _) in batch.items():
            served[name].append(images[:, 0])
    for name, half in zip(served, split.halves(), strict=True):
        seen = torch.cat(served[name])
        assert len(seen) == 48
        assert torch.equal(seen.flatten(1).sum(1).sort().values, pixels[half].flatten(1).sum(1).sort().values)


def test_every_epoch_has_an_order_of_its_own() -> None:
    loader = tiny_split().train_dataloader().iterables["weights"]
    orders = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        orders.append(list(loader.sampler))
    assert orders[0] == orders[2] != orders[1]


def test_halves_have_orders_of_their_own() -> None:
    loaders = tiny_split().train_dataloader().iterables
    assert list(loaders["weights"].sampler) != list(loaders["architecture"].sampler)


def test_batches_too_large() -> None:
    with pytest.raises(ValueError, match="at most 48"):
        tiny_split(batch_size=49).train_dataloader()
    with pytest.raises(ValueError, match="at least 1"):
        SearchSplit(TinyImages(), batch_size=0)


def test_evaluation_is_the_other_modules() -> None:
    split = tiny_split(batch_size=24)
    assert len(next(iter(split.val_dataloader()))[1]) == 24
    assert len(next(iter(split.test_dataloader()))[1]) == 24


class Own(LightningDataModule):
    """A user's: colour images, a collate function, augmentation on the device."""

    def train_dataloader(self) -> Any:
        images = torch.rand(32, 3, 8, 12)
        return DataLoader(TensorDataset(images, torch.arange(32) % 3), batch_size=16, collate_fn=mapping)

    def val_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.rand(8, 3, 8, 12), torch.arange(8) % 3), batch_size=8)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch | {"image": batch["image"] * 0.5} if isinstance(batch, dict) else batch


def mapping(rows: list[Any]) -> dict[str, Any]:
    images, labels = zip(*rows, strict=True)
    return {"image": torch.stack(images), "label": torch.stack(labels)}


def test_any_data_module_is_split() -> None:
    split = SearchSplit(Own(), batch_size=4)
    model = ArchitectureSearch(GDAS(), SPACE, image_shape=(3, 8, 12), classes=3)
    brightest: list[float] = []
    loss = model.task_loss

    def watched(batch: Any) -> Any:
        brightest.append(float(batch[0].max()))
        return loss(batch)

    model.task_loss = watched  # type: ignore[method-assign]
    trainer = quiet_trainer()
    trainer.fit(model, split)
    assert "val/accuracy" in trainer.callback_metrics
    assert trainer.num_training_batches == 4
    assert max(brightest) <= 0.5  # the module's own change reached both halves
    weights, architecture = split.halves()
    assert sorted([*weights.tolist(), *architecture.tolist()]) == list(range(32))


def test_streams_and_several_loaders_cannot_be_split() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(())

    class Other(LightningDataModule):
        def __init__(self, served: Any) -> None:
            super().__init__()
            self.served = served

        def train_dataloader(self) -> Any:
            return self.served

    for served, words in ((DataLoader(Stream()), "Other has a stream"), ([], "Other has list")):
        with pytest.raises(ValueError, match=f"{words}.*CombinedLoader"):
            SearchSplit(Other(served)).train_dataloader()
