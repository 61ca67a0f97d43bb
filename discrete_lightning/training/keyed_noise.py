"""Keyed noise for any LightningModule: the same on any number of ranks and after a resume (functional/_keyed.py)."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.functional._keyed import Keys, force
from discrete_lightning.functional.keyed_noise import key_of, numbered_examples

_TRAIN, _VALIDATE, _TEST, _PREDICT = range(4)


class KeyedNoise(Callback):
    """Makes all noise of this package within a batch a function of (seed, epoch, batch, draw, example, element).

    A fit by n processes then draws what one process draws for the whole batch: give each of them 1/n of its batch size. A
    resumed fit draws what the uninterrupted one would have, whatever the states of generators. So does a forward pass that
    activation checkpointing makes again, and one that is compiled. Validation, tests and predictions have noise of their own,
    the same each time, so that their results differ by the weights alone.

    What it does not reach: noise of torch (dropout, `torch.rand`), and what is drawn outside of a batch's step. In what is
    sampled the first dimension must be the examples, or examples x positions; see `functional.keyed_examples` for all else.
    Each process holds examples r, r + n, r + 2 n, ... of the global batch, as torch's DistributedSampler deals them, which is
    Lightning's. Its cost: benchmarks/reliability/keyed_noise.py.

    Args:
        seed: of the run; None: that of `seed_everything`, or 0 where it was not called.
        examples: the examples of a batch: their number, or their numbers in the global batch, integers (B,). None: as many as
            the first tensor in the batch has rows.

    Raises:
        RuntimeError: when a batch begins and keyed noise is in force already.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[KeyedNoise(seed=1)], logger=False, enable_checkpointing=False)
    """

    def __init__(self, seed: int | None = None, examples: Callable[[Any], int | Tensor] | None = None) -> None:
        self.seed, self.examples = seed, examples
        self._keys = Keys()

    def _begin(self, module: LightningModule, batch: Any, *step: int) -> None:
        if force.keys is not None and force.keys is not self._keys:
            raise RuntimeError("KeyedNoise: keyed noise is in force already: use one KeyedNoise, or keyed_noise")
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.seed is None else self.seed
        found = _count(batch) if self.examples is None else self.examples(batch)
        examples = None if found is None else numbered_examples(found, module.device)
        self._keys.begin(key_of(seed, step), examples)
        force.keys = force.left = self._keys

    def _end(self) -> None:
        if force.keys is self._keys:
            force.keys = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._begin(pl_module, batch, _TRAIN, trainer.current_epoch, batch_idx)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self._end()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._begin(pl_module, batch, _VALIDATE, dataloader_idx, batch_idx)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self._end()

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._begin(pl_module, batch, _TEST, dataloader_idx, batch_idx)

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        self._end()

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._begin(pl_module, batch, _PREDICT, dataloader_idx, batch_idx)

    def on_predict_batch_end(self, *_: Any, **__: Any) -> None:
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._end()
        if force.left is self._keys:
            force.left = None


def _count(batch: Any) -> int | None:
    """Rows of the first tensor in a batch; None if there is none."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else None
    parts: Iterable[Any] = ()
    if isinstance(batch, Mapping):
        parts = batch.values()
    elif isinstance(batch, list | tuple):
        parts = batch
    elif hasattr(batch, "__dict__"):
        parts = vars(batch).values()
    return next((count for count in map(_count, parts) if count is not None), None)
