"""Pictures of images above their reconstructions."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from discrete_lightning.protocols import ReconstructsImages
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.pictures import (
    image_grid,
    never_ends_a_run,
    save_pillow,
    shown_channels,
    to_pillow,
    visible,
)
from discrete_lightning.training.wandb_media import log_image


class Reconstructions(Callback):
    """Validation images, above their reconstructions: logged to W&B after each validation, the last one saved as a PNG.

    Works on any LightningModule with a method `reconstruct(images) -> images` in [0, 1], and on batches as
    `training.batches.examples_of` reads them, of any number of channels. A caption says of which epoch it is and which row is
    what. A picture that cannot be drawn is a warning.

    Args:
        count: images shown.
        filename: written to the run's folder when fitting ends; never over an existing file.

    Raises:
        TypeError: in setup, if the module has no `reconstruct`.
    """

    def __init__(self, count: int = 16, filename: str = "reconstructions.png") -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count, self.filename = count, filename
        self._images: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, ReconstructsImages):
            raise TypeError(
                f"Reconstructions needs a method reconstruct(images) -> images, which {type(pl_module).__name__} "
                "does not have; define it or leave the callback out"
            )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking and batch_idx == dataloader_idx == 0:
            with never_ends_a_run("val/reconstructions"):
                self._images = examples_of(batch).inputs[: self.count]
                when = f", epoch {trainer.current_epoch + 1}" if trainer.state.fn == TrainerFn.FITTING else ""
                caption = self._caption(when)
                log_image(trainer, "val/reconstructions", to_pillow(self._picture(pl_module), caption=caption), caption)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._images is not None and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            with never_ends_a_run(self.filename):
                caption = self._caption(f", end of training (epoch {max(1, trainer.current_epoch)})")
                save_pillow(trainer, to_pillow(self._picture(pl_module), caption=caption), self.filename, caption)

    def _caption(self, when: str) -> str:
        assert self._images is not None
        rest = shown_channels(self._images.shape[1]) if self._images.ndim == 4 else ""
        return f"Validation{when}: first row images, second row their reconstructions{rest}"

    @torch.no_grad()
    def _picture(self, module: LightningModule) -> Tensor:
        assert self._images is not None
        images = self._images.to(module.device)
        training = module.training
        module.eval()
        try:
            # outside of a step Lightning does not apply the run's precision
            with module.trainer.precision_plugin.forward_context():
                assert isinstance(module, ReconstructsImages)  # checked in setup
                restored = module.reconstruct(module.trainer.precision_plugin.convert_input(images))
        finally:
            module.train(training)
        both = torch.cat([images.float(), restored.float()])
        if both.ndim < 4:  # rows of features, or images without a dimension of channels
            both = both.view(len(both), 1, -1, both.shape[-1])
        return image_grid(visible(both), columns=len(images))
