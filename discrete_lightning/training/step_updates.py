"""Layers of any LightningModule that collect statistics: updated after the steps of its optimisers, on all ranks together."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.layers.step_updates import StepBinding, update_after_step
from discrete_lightning.layers.updated_layer import UpdatedLayer
from discrete_lightning.training.averaging import sync_averaged_copies


class StepUpdates(Callback):
    """Updates the routers and codebooks of a LightningModule after each step of their optimiser, and gives copies that weight
    averaging keeps their numbers.

    Every Trainer that is made after such layers were imported has it, or `CodebookUpdates`, by itself, where this package is
    installed. With several optimisers, manual optimisation too, a layer belongs to those that train its parameter, or else the
    nearest one before it: the steps of a discriminator do not count.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[StepUpdates()], accelerator="cpu", logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        self._binding: StepBinding | None = None
        self._has_layers = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_layers = any(isinstance(each, UpdatedLayer) for each in pl_module.modules())
        self._bind(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        bound = self._binding.optimizers if self._binding is not None else []
        if self._binding is not None and [id(each) for each in bound] != [id(each) for each in trainer.optimizers]:
            self._bind(trainer, pl_module)  # a callback has set up other optimisers

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._has_layers:
            sync_averaged_copies(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()

    def _bind(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()
        if trainer.optimizers and self._has_layers:
            self._binding = update_after_step(pl_module, *trainer.optimizers)

    def _release(self) -> None:
        if self._binding is not None:
            self._binding.remove()
            self._binding = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the callback is bound to nothing: the binding holds optimisers of the run."""
        return {**self.__dict__, "_binding": None}
