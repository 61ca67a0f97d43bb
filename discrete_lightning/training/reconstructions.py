"""Pictures of images above their reconstructions."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.protocols import ReconstructsImages
from discrete_lightning.training.pictures import image_grid, save_image, to_pillow
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_image


class Reconstructions(Callback):
    """Validation images, above their reconstructions: logged to W&B after each validation, the last one saved as a PNG.

    Works on any LightningModule with a method `reconstruct(images) -> images` in [0, 1], and batches whose first entry is
    the images (B, C, H, W).

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
            self._images = batch[0][: self.count]
            log_image(trainer, "val/reconstructions", to_pillow(self._picture(pl_module)))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._images is not None and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            save_image(to_pillow(self._picture(pl_module)), fresh_path(output_folder(trainer), self.filename))

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
        return image_grid(torch.cat([images.float(), restored.float()]), columns=len(images))
