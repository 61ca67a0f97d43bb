"""Two disjoint halves of a training set: one for the weights, one for the architecture (DARTS, section 2.2)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, Subset

from discrete_lightning.protocols import HasBatchSize
from discrete_lightning.training._lightning_private import batches_begun


class SearchSplit(LightningDataModule):
    """Training batches {"weights": batch, "architecture": batch} of another data module.

    Both halves of its training set are shuffled every epoch, by a function of the seed and the epoch alone: a run resumed in
    the middle of an epoch continues with the next batch. A sampler of the other module's training loader is not used.
    Validation and test data are those of the other module.

    Args:
        data: a LightningDataModule whose training loader is one DataLoader over a data set with a length; its `batch_size`, if
            it has one, is replaced.
        batch_size: of each half, and of validation and test where the other module has a `batch_size`.
        seed: of the split and of the order.

    Raises:
        ValueError: if a half has fewer examples than a batch on every device needs, or the training loader is of another kind.

    Example:
        >>> from discrete_lightning.data import Digits
        >>> batch = next(iter(SearchSplit(Digits(), batch_size=32).train_dataloader()))[0]
        >>> batch["weights"][0].shape, batch["architecture"][1].shape
        (torch.Size([32, 1, 28, 28]), torch.Size([32]))
    """

    def __init__(self, data: LightningDataModule, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.data, self.batch_size, self.seed = data, batch_size, seed
        if isinstance(data, HasBatchSize):
            data.batch_size = batch_size
        # what the other module does to batches, such as augmentation on the device, it does to each half
        for name in ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"):
            if is_overridden(name, data):
                vars(self)[name] = partial(_on_each_half, getattr(data, name))

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self.data.trainer = self.trainer
        self.data.setup(stage)  # type: ignore[arg-type]

    def teardown(self, stage: str | None = None) -> None:
        self.data.teardown(stage)  # type: ignore[arg-type]

    def halves(self) -> tuple[Tensor, Tensor]:
        """Indices of the examples for the weights and for the architecture."""
        return self._halves(self._whole().dataset)

    def _halves(self, dataset: Any) -> tuple[Tensor, Tensor]:
        count = len(dataset)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        return order[: count // 2], order[count // 2 : count // 2 * 2]

    def _whole(self) -> DataLoader[Any]:
        loader = self.data.train_dataloader()
        own = (
            'serve training batches {"weights": batch, "architecture": batch} yourself, by '
            'lightning.pytorch.utilities.CombinedLoader({...}, "min_size")'
        )
        name = type(self.data).__name__
        if not isinstance(loader, DataLoader):
            raise ValueError(
                f"SearchSplit divides the data set of one DataLoader, and {name} has {type(loader).__name__}: {own}"
            )
        if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__len__"):
            raise ValueError(f"SearchSplit needs a data set with a length, and {name} has a stream: {own}")
        return loader

    def train_dataloader(self) -> CombinedLoader:
        whole, names = self._whole(), ("weights", "architecture")
        parts = enumerate(zip(names, self._halves(whole.dataset), strict=True))
        return CombinedLoader({name: self._loader(whole, part, i) for i, (name, part) in parts}, "min_size")

    def _loader(self, whole: DataLoader[Any], indices: Tensor, number: int) -> DataLoader[Any]:
        trainer = self.trainer
        ranks = 1 if trainer is None else trainer.world_size
        share = len(indices) // ranks
        if share < self.batch_size:
            raise ValueError(
                f"SearchSplit: batch_size={self.batch_size}: expected at most {share}, since half the training set is "
                f"{len(indices):,} examples for {ranks} device(s)"
            )
        half = Subset(whole.dataset, indices.tolist())
        rank = 0 if trainer is None else trainer.global_rank
        return _ResumedLoader(
            half,
            self.batch_size,
            sampler=_ResumedSampler(self, half, ranks, rank, seed=2 * self.seed + number),
            drop_last=True,
            num_workers=whole.num_workers,
            collate_fn=whole.collate_fn,
            pin_memory=whole.pin_memory,
            worker_init_fn=whole.worker_init_fn,
            multiprocessing_context=whole.multiprocessing_context,
        )

    def val_dataloader(self) -> Any:
        return self.data.val_dataloader()

    def test_dataloader(self) -> Any:
        return self.data.test_dataloader()

    def predict_dataloader(self) -> Any:
        return self.data.predict_dataloader()

    def state_dict(self) -> dict[str, Any]:
        return self.data.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.data.load_state_dict(state_dict)


def _on_each_half(hook: Callable[..., Any], batch: Any, *arguments: Any) -> Any:
    if isinstance(batch, dict) and batch.keys() == {"weights", "architecture"}:
        return {name: hook(part, *arguments) for name, part in batch.items()}
    return hook(batch, *arguments)


class _ResumedLoader(DataLoader[Any]):
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
