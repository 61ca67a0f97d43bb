"""Codebooks of any LightningModule: their statistics are applied after each step of their optimiser, on all ranks together."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.training.averaging import sync_averaged_copies
from discrete_lightning.vq.codebook_updates import CodebookBinding, update_codebooks_after_step


class CodebookUpdates(Callback):
    """Updates the codebooks of a LightningModule (`VectorQuantizer` and its relatives) after each step of their optimiser.

    Every Trainer has it by itself where this package is installed. With several optimisers, manual optimisation too, a
    codebook belongs to the one that trains the nearest parameter before it: the steps of a discriminator do not count.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[CodebookUpdates()], accelerator="cpu", logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        self._binding: CodebookBinding | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()
        if trainer.optimizers:
            self._binding = update_codebooks_after_step(pl_module, *trainer.optimizers)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._binding is not None and self._binding.codebooks:
            sync_averaged_copies(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()

    def _release(self) -> None:
        if self._binding is not None:
            self._binding.remove()
            self._binding = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the callback is bound to nothing: the binding holds optimisers of the run."""
        return {**self.__dict__, "_binding": None}
