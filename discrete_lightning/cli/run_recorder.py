"""The callback that ties a run to its folder: its config, its hyper-parameters, and its weights at Ctrl-C."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from discrete_lightning.cli.checkpoints import LAST
from discrete_lightning.cli.errors import INTERRUPTED, TERMINATED
from discrete_lightning.cli.sources import CHECKPOINTS, CONFIG_FILE
from discrete_lightning.training._lightning_private import dump_checkpoint


class RunRecorder(Callback):
    """Writes `config.yaml` and logs it before the run, and saves `last.ckpt` when the run is interrupted.

    Args:
        folder: the run's folder; None where nothing is written.
        config: text of the parsed config, which repeats the run.
        hparams: the same as a mapping, for the loggers.

    Attributes:
        folder: the run's folder, equal in all processes from `setup` on.
        started: whether data went through the model: an error before that is one of configuration.
        exit_code: of the interrupted process, None if it was not interrupted.
    """

    def __init__(self, folder: Path | None, config: str, hparams: Mapping[str, Any]) -> None:
        self.folder = folder
        self.started = False
        self.exit_code: int | None = None
        self._config, self._hparams = config, dict(hparams)
        self._written = False
        self._interrupts = 0
        self._before: Any = None  # the handler of SIGINT outside of batches

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.folder is None or self._written:
            return
        self._written = True
        # Processes that torchrun or SLURM started have each guessed a folder: the first one's is the folder.
        self.folder = Path(trainer.strategy.broadcast(str(self.folder)))
        if trainer.is_global_zero:
            with (self.folder / CONFIG_FILE).open("x", encoding="utf-8") as file:
                file.write(self._config)
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):  # it would write the config a second time
                    logger.log_hyperparams(self._hparams)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True

    on_train_start = on_validation_start = on_test_start = on_predict_start = on_sanity_check_start

    # Ctrl-C in the middle of a step would leave half of it in the weights, and a resumed run would take the step again: it is
    # heard at the end of the batch. A second one is heard at once.

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if threading.current_thread() is threading.main_thread() and self._before is None:
            self._interrupts, self._before = 0, signal.signal(signal.SIGINT, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._listen()
        if self._interrupts:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._listen()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            self._listen()
            raise KeyboardInterrupt

    def _listen(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._listen()
        if not isinstance(exception, (KeyboardInterrupt, SIGTERMException)):
            return
        self.exit_code = INTERRUPTED if isinstance(exception, KeyboardInterrupt) else TERMINATED
        if self.folder is None or not self.started or trainer.state.fn != TrainerFn.FITTING:
            return
        path = self.folder / CHECKPOINTS / LAST
        if trainer.world_size == 1:
            trainer.save_checkpoint(path, weights_only=False)
        elif trainer.is_global_zero and isinstance(trainer.strategy, DDPStrategy):
            # save_checkpoint would wait for the other processes, which may be anywhere, or gone.
            checkpoint = dump_checkpoint(trainer)
            trainer.strategy.checkpoint_io.save_checkpoint(checkpoint, path)
