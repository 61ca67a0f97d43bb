"""What all image data modules share, on a made-up set."""

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.data import _update_dataloader
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from discrete_lightning.data import DataError, ImageDataModule
from discrete_lightning.data.splits import Split


class Stripes(ImageDataModule):
    """50 / 20 / 10 images whose pixels all equal their position in the split plus 60, so that images can be recognised."""

    loads = 0

    def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
        self.loads += 1
        sizes: dict[Split, int] = {"train": 50, "validation": 20, "test": 10}
        return {
            split: (
                (torch.arange(size, dtype=torch.uint8) + 60)[:, None, None].repeat(1, 28, 28),
                (torch.arange(size) % 10).to(torch.uint8),
            )
            for split, size in sizes.items()
        }


def epoch(loader: Any) -> Tensor:
    return torch.cat([images for images, _ in loader])


def identities(loader: Any) -> list[int]:
    return [round(float(value) * 255) - 60 for value in epoch(loader)[:, 0, 0, 0]]


@pytest.mark.parametrize("binarize", ["none", "fixed", "dynamic"])
@pytest.mark.parametrize("stage", ["train", "val", "test", "predict"])
def test_batches(binarize: Any, stage: str) -> None:
    loader = getattr(Stripes(batch_size=8, binarize=binarize), f"{stage}_dataloader")()
    images, labels = next(iter(loader))
    assert (images.shape, images.dtype) == ((8, 1, 28, 28), torch.float32)
    assert (labels.shape, labels.dtype) == ((8,), torch.int64)
    assert 0 <= images.min() <= images.max() <= 1
    if binarize != "none":
        assert images.unique().tolist() == [0, 1]


def test_training_is_shuffled_and_drops_the_remainder() -> None:
    loader = Stripes(batch_size=8).train_dataloader()
    first, second = identities(loader), identities(loader)
    assert len(first) == len(set(first)) == 48
    assert first != second


@pytest.mark.parametrize(("stage", "size"), [("val", 20), ("test", 10), ("predict", 10)])
def test_evaluation_is_in_order_and_complete(stage: str, size: int) -> None:
    loader = getattr(Stripes(batch_size=8), f"{stage}_dataloader")()
    assert identities(loader) == list(range(size))


def test_labels_stay_with_their_images() -> None:
    for images, labels in Stripes(batch_size=8).train_dataloader():
        assert torch.equal((images[:, 0, 0, 0] * 255).round().long().sub(60) % 10, labels)


def test_one_item_is_one_image() -> None:
    image, label = Stripes().dataset("test")[3]
    assert image.shape == (1, 28, 28)
    assert label == 3


def test_a_batch_is_one_indexing_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Stripes(batch_size=8)
    monkeypatch.setattr(type(data.dataset("train")), "__getitem__", lambda *_: pytest.fail("read one by one"))
    assert len(list(data.train_dataloader())) == 6


@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_fixed_bits_are_equal_in_instances_and_epochs(stage: str) -> None:
    first, second = (Stripes(binarize="fixed", batch_size=10) for _ in range(2))
    split: Split = {"train": "train", "val": "validation", "test": "test"}[stage]  # type: ignore[assignment]
    everything = range(len(first.dataset(split)))
    bits = [data.dataset(split).__getitems__(everything)[0] for data in (first, first, second)]
    assert torch.equal(bits[0], bits[1])
    assert torch.equal(bits[0], bits[2])
    other = Stripes(binarize="fixed", seed=1).dataset(split).__getitems__(everything)[0]
    assert not torch.equal(bits[0], other)


def test_dynamic_bits_are_new_in_training_and_those_of_fixed_in_evaluation() -> None:
    dynamic, fixed = Stripes(binarize="dynamic", batch_size=10), Stripes(binarize="fixed", batch_size=10)
    train = dynamic.dataset("train")
    assert not torch.equal(train.__getitems__(range(50))[0], train.__getitems__(range(50))[0])
    for stage in ("val", "test", "predict"):
        loaders = [getattr(data, f"{stage}_dataloader")() for data in (dynamic, dynamic, fixed)]
        first, second, static = map(epoch, loaders)
        assert torch.equal(first, second)
        assert torch.equal(first, static)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # of a machine with one core
def test_workers_draw_differently_from_each_other_and_in_each_epoch() -> None:
    data = Stripes(binarize="dynamic", batch_size=25, num_workers=2)
    data.dataset("train").pixels.fill_(127)
    loader = data.train_dataloader()
    assert loader.persistent_workers
    seen = [images for _ in range(2) for images, _ in loader]
    assert len(seen) == 4
    assert all(not torch.equal(seen[i], seen[j]) for i in range(4) for j in range(i))


def test_data_is_loaded_once() -> None:
    data = Stripes(batch_size=8)
    for stage in ("fit", "validate", "test", "predict"):
        data.setup(stage)
    data.train_dataloader()
    assert data.loads == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_lightning_can_inject_a_distributed_sampler(rank: int) -> None:
    loader = Stripes(batch_size=5).train_dataloader()
    sampler: DistributedSampler[Any] = DistributedSampler(loader.dataset, num_replicas=2, rank=rank, seed=3)
    injected = _update_dataloader(loader, sampler, mode=RunningStage.TRAINING)
    assert isinstance(injected, DataLoader)
    assert injected.sampler is sampler
    assert [len(labels) for _, labels in injected] == [5] * 5
    assert identities(injected) == list(sampler)


def test_lightning_can_follow_the_indices_in_prediction() -> None:
    loader = Stripes(batch_size=4).predict_dataloader()
    injected = _update_dataloader(loader, SequentialSampler(loader.dataset), mode=RunningStage.PREDICTING)  # type: ignore[arg-type]
    assert [len(labels) for _, labels in injected] == [4, 4, 2]
    assert identities(injected) == list(range(10))


class Recorder(LightningModule):
    """Trains one number and counts the images that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen = {"train": 0, "validation": 0, "test": 0, "predict": 0}

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.seen["train"] += len(batch[1])
        return (self.scale * batch[0]).mean()

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.seen["validation"] += len(batch[1])

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.seen["test"] += len(batch[1])

    def predict_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.seen["predict"] += len(batch[1])
        return batch[1]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")  # lightning 2.6.6 on torch 2.13
def test_trainer_runs_all_stages() -> None:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model, data = Recorder(), Stripes(batch_size=8, binarize="dynamic")
    trainer.fit(model, data)
    trainer.test(model, data)
    trainer.predict(model, data)
    assert model.seen == {"train": 96, "validation": 40, "test": 10, "predict": 10}
    assert data.loads == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: expected 1 or more examples"),
        ({"binarize": "sometimes"}, "binarize='sometimes': expected one of none, fixed, dynamic"),
        ({"num_workers": -1}, "num_workers=-1: expected 0"),
        ({"seed": -1}, "seed=-1: expected 0 or more"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stripes(**arguments)


def test_batch_larger_than_the_training_split() -> None:
    with pytest.raises(ValueError, match=r"batch_size=51: expected at most 50, .* 50 examples for 1 device"):
        Stripes(batch_size=51).train_dataloader()


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (torch.zeros(5, 28, 28), torch.zeros(4), r"found \(5, 28, 28\) and \(4,\)"),
        (torch.zeros(5, 32, 32), torch.zeros(5), r"found \(5, 32, 32\) and \(5,\)"),
        (torch.zeros(5, 28, 28), torch.arange(5) + 7, "expected labels 0 to 9, found 7 to 11"),
        (torch.zeros(5, 28, 28), torch.rand(5), "expected labels of an integer type, found torch.float32"),
    ],
)
def test_wrong_data(pixels: Tensor, labels: Tensor, message: str) -> None:
    class Wrong(ImageDataModule):
        def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
            return {"train": (pixels.to(torch.uint8), labels)}

    with pytest.raises(DataError, match=message):
        Wrong().setup()


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.bool])
def test_pixels_that_are_no_bytes(dtype: torch.dtype) -> None:
    """Divided by 255 all the same, they would be trained on in the range 0 to 0.0039, or 0 to 257."""

    class Wrong(ImageDataModule):
        def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
            return {"train": (torch.ones(5, 28, 28).to(dtype), torch.arange(5))}

    with pytest.raises(DataError, match=f"expected pixels as bytes, uint8 in 0 to 255, found {dtype}"):
        Wrong().setup()
