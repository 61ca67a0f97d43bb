"""The callback that writes a run's config and hyper-parameters and, when the run is interrupted, its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from discrete_lightning.training.interrupt import GracefulInterrupt


class RunRecorder(GracefulInterrupt):
    """Writes `config.yaml` and logs it before the run, and saves `checkpoints/last.ckpt` when the run is interrupted.

    Args:
        config: text of the parsed config, which repeats the run.
        hparams: the same as a mapping, for the loggers.

    Attributes:
        folder: the run's folder, equal in all processes from `setup` on; None where nothing is written.
        started: whether data went through the model: an error before that is one of configuration.
    """

    def __init__(self, config: str, hparams: Mapping[str, Any]) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.started = False
        self._config, self._hparams, self._written = config, dict(hparams), False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.folder is None or self._written:
            return
        self._written = True
        # Processes that torchrun or SLURM started have each guessed a folder: the first one's is the folder.
        self.folder = Path(trainer.strategy.broadcast(str(self.folder)))
        if trainer.is_global_zero:
            with (self.folder / "config.yaml").open("x", encoding="utf-8") as file:
                file.write(self._config)
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):  # it would write the config a second time
                    logger.log_hyperparams(self._hparams)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._start()
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._start()

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def _start(self) -> None:
        self.started = True
        self.checkpoint = None if self.folder is None else self.folder / "checkpoints" / "last.ckpt"
