"""Codebooks of any LightningModule: updated after the steps of its optimisers, on all ranks together."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from discrete_lightning.functional._torch_private import left_out_by_ddp
from discrete_lightning.training.averaging import sync_averaged_copies
from discrete_lightning.vq.codebook_updates import CodebookBinding, update_codebooks_after_step
from discrete_lightning.vq.quantizers.updated_codebook import UpdatedCodebook
from discrete_lightning.vq.quantizers.vector import VectorQuantizer


class CodebookUpdates(Callback):
    """Updates the codebooks of a LightningModule (`VectorQuantizer` and its relatives) after each step of their optimiser, and
    gives copies that weight averaging keeps their numbers.

    Every Trainer that is made after codebooks were imported has it by itself, where this package is installed. With several
    optimisers, manual optimisation too, a codebook belongs to those that train the nearest parameter before it: the steps of a
    discriminator do not count.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[CodebookUpdates()], accelerator="cpu", logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        self._binding: CodebookBinding | None = None
        self._has_codebooks = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A rank whose batch does not reach a codebook leaves its parameter, which has no gradient, out of a step."""
        codebooks = [each for each in pl_module.modules() if isinstance(each, VectorQuantizer)]
        switches = {id(parameter) for codebook in codebooks for parameter in codebook.trainable}
        left_out_by_ddp(pl_module, [name for name, each in pl_module.named_parameters() if id(each) in switches])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_codebooks = any(isinstance(each, UpdatedCodebook) for each in pl_module.modules())
        self._bind(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        bound = self._binding.optimizers if self._binding is not None else []
        if self._binding is not None and [id(each) for each in bound] != [id(each) for each in trainer.optimizers]:
            self._bind(trainer, pl_module)  # a callback has set up other optimisers

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._has_codebooks:
            sync_averaged_copies(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()

    def _bind(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()
        if trainer.optimizers and self._has_codebooks:
            self._binding = update_codebooks_after_step(pl_module, *trainer.optimizers)

    def _release(self) -> None:
        if self._binding is not None:
            self._binding.remove()
            self._binding = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the callback is bound to nothing: the binding holds optimisers of the run."""
        return {**self.__dict__, "_binding": None}
