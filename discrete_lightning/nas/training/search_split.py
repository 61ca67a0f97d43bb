"""Two disjoint halves of a training set: one for the weights, one for the architecture (DARTS, section 2.2)."""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Subset

from discrete_lightning.data.dataset import Batch, as_is
from discrete_lightning.data.images import ImageDataModule
from discrete_lightning.training._lightning_private import batches_begun


class SearchSplit(LightningDataModule):
    """Training batches {"weights": (images, labels), "architecture": (images, labels)} of another data module's images.

    Both halves are shuffled every epoch, by a function of the seed and the epoch alone: a run resumed in the middle of an epoch
    continues with the next batch. Validation and test data are those of the other module.

    Args:
        data: the module whose training set is split; its batch size is replaced by `batch_size`.
        batch_size: of each half, and of validation and test.
        seed: of the split and of the order.

    Raises:
        ValueError: if a half has fewer images than a batch on every device needs.

    Example:
        >>> from discrete_lightning.data import Digits
        >>> batch = next(iter(SearchSplit(Digits(), batch_size=32).train_dataloader()))[0]
        >>> batch["weights"][0].shape, batch["architecture"][1].shape
        (torch.Size([32, 1, 28, 28]), torch.Size([32]))
    """

    def __init__(self, data: ImageDataModule, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.data, self.batch_size, self.seed = data, batch_size, seed
        data.batch_size = batch_size

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self.data.setup(stage)

    def halves(self) -> tuple[Tensor, Tensor]:
        """Indices of the images for the weights and for the architecture."""
        count = len(self.data.dataset("train"))
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        return order[: count // 2], order[count // 2 : count // 2 * 2]

    def train_dataloader(self) -> CombinedLoader:
        names = ("weights", "architecture")
        loaders = {name: self._loader(part, i) for i, (name, part) in enumerate(zip(names, self.halves(), strict=True))}
        return CombinedLoader(loaders, "min_size")

    def _loader(self, indices: Tensor, number: int) -> DataLoader[Batch]:
        trainer = self.trainer
        ranks = 1 if trainer is None else trainer.world_size
        share = len(indices) // ranks
        if share < self.batch_size:
            raise ValueError(
                f"SearchSplit: batch_size={self.batch_size}: expected at most {share}, since half the training set is "
                f"{len(indices):,} images for {ranks} device(s)"
            )
        half = _Half(self.data.dataset("train"), indices)
        rank = 0 if trainer is None else trainer.global_rank
        sampler = _ResumedSampler(self, half, ranks, rank, seed=2 * self.seed + number)
        return _ResumedLoader(
            half, self.batch_size, sampler=sampler, drop_last=True, num_workers=self.data.num_workers, collate_fn=as_is
        )

    def val_dataloader(self) -> Any:
        return self.data.val_dataloader()

    def test_dataloader(self) -> Any:
        return self.data.test_dataloader()

    def predict_dataloader(self) -> Any:
        return self.data.predict_dataloader()


class _Half(Subset[Batch]):
    """A part of an ImageDataset, served a whole batch at a time."""

    def __init__(self, dataset: Any, indices: Tensor) -> None:
        super().__init__(dataset, indices.tolist())

    def __getitems__(self, indices: list[int]) -> Any:
        return self.dataset.__getitems__([self.indices[index] for index in indices])  # type: ignore[attr-defined]


class _ResumedLoader(DataLoader[Batch]):
    """Has state methods, so that Lightning knows it continues where a checkpoint was made; the loop counts the batches."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


class _ResumedSampler(DistributedSampler[Any]):
    """A DistributedSampler (its order is a function of seed and epoch) that starts at the batch where Lightning's loop is."""

    def __init__(self, owner: SearchSplit, dataset: Any, ranks: int, rank: int, seed: int) -> None:
        super().__init__(dataset, ranks, rank, shuffle=True, seed=seed, drop_last=True)
        self.owner = owner

    def __iter__(self) -> Iterator[Any]:
        trainer = self.owner.trainer
        # read when the first batch is loaded: by then the loop has been restored
        done = 0
        if trainer is not None and trainer.training:
            done = batches_begun(trainer)
        yield from list(super().__iter__())[done * self.owner.batch_size :]
