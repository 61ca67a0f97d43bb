"""The callback that logs a run's config, guards its checkpoints and, when the run is interrupted, saves its weights."""

import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.multiprocessing.spawn import ProcessExitedException

from discrete_lightning.distributed import rank, world_size
from discrete_lightning.training._equal_lengths import stop_together
from discrete_lightning.training._lightning_private import end_children, end_observer, hear_errors_of_child
from discrete_lightning.training.checkpoint_io import RunCheckpointIO
from discrete_lightning.training.interrupt import GracefulInterrupt
from discrete_lightning.training.rank_watch import GRACE, RankWatch
from discrete_lightning.training.run_report import how_to_resume

_PATIENCE = 120  # seconds for a process to finish its batch and to save


class RunRecorder(GracefulInterrupt):
    """Logs the config before the run, and saves `checkpoints/last.ckpt` when the run is interrupted.

    Args:
        hparams: the config as a mapping, for the loggers.
        trusted: modules that configs may name, for the command that goes on.

    Attributes:
        folder: the run's folder, equal in all processes from `setup` on; None where nothing is written.
        watch: over the other ranks; None where there are none.
    """

    def __init__(self, hparams: Mapping[str, Any], trusted: Sequence[str] = ()) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.watch: RankWatch | None = None
        self._hparams, self._logged = dict(hparams), False
        # Shared with the processes that `ddp_spawn` and `ddp_fork` start: what those set elsewhere is not seen here.
        self.trusted = tuple(trusted)
        self._shared = torch.zeros(3, dtype=torch.int32)
        with suppress(RuntimeError):  # no shared memory on this machine
            self._shared.share_memory_()

    @property
    def started(self) -> bool:
        """Whether data went through the model, in any process: an error before that is one of configuration."""
        return bool(self._shared[0])

    @property
    def trained(self) -> bool:
        """Whether a batch was trained on, in any process."""
        return bool(self._shared[1])

    @property
    def asked(self) -> int:
        """The number of the signal that interrupted the process that started this one; 0 for none."""
        return int(self._shared[2])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = RunCheckpointIO(trainer)
        if world_size() > 1:
            self._watch(trainer)
            stop_together(trainer)
        if self.folder is None or self._logged:
            return
        self._logged = True
        # Processes that torchrun or SLURM started have each guessed a folder: the first one's is the folder.
        self.folder = Path(trainer.strategy.broadcast(str(self.folder)))
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                if not isinstance(logger, CSVLogger):  # it would write the config a second time
                    logger.log_hyperparams(self._hparams)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if isinstance(trainer.strategy.checkpoint_io, RunCheckpointIO):
            trainer.strategy.checkpoint_io.check_restored()
        self.checkpoint = self._last()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._start()
        self._shared[1] = 1

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._start()

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start

    def _start(self) -> None:
        self._shared[0] = 1
        self.checkpoint = self._last()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        launched = self.started and self.checkpoint is None and self.folder is not None  # by this process, to train
        if launched and isinstance(exception, KeyboardInterrupt | SIGTERMException | ProcessExitedException):
            self._shared[2] = self.signals.noted or int(signal.SIGINT)
            for child in multiprocessing.active_children():
                child.join(_PATIENCE)
        if self.watch is not None and not self._saved:  # not by agreement
            self.watch.blame(exception)
            if multiprocessing.parent_process() is None:
                exception.add_note(self.rank_prefix)
        super().on_exception(trainer, pl_module, exception)
        self.checkpoint = self.checkpoint or self._last()  # a process of the run has written it

    @property
    def rank_prefix(self) -> str:
        """What to write before an error: which rank it is of; "" where there is one."""
        return "" if self.watch is None else f"rank {rank()}: "

    def is_told_elsewhere(self, trainer: Trainer) -> bool:
        """Whether another process tells of how this run ended: the rank that failed first, or else the first one."""
        if self.watch is None or self.watch.fault is None:
            return not trainer.is_global_zero
        return self.watch.is_victim

    def finish(self, trainer: Trainer) -> None:
        """Ends the watch, and the processes that this one has started, where they do not end by themselves."""
        if self.watch is not None:
            self.watch.finish()
            end_children(trainer, GRACE)

    def _stop(self, trainer: Trainer, number: int, is_saved: bool = False) -> None:
        try:
            super()._stop(trainer, number, is_saved)
        finally:
            if self.watch is not None:  # all ranks leave now
                self.watch.finish()

    def _watch(self, trainer: Trainer) -> None:
        is_child = multiprocessing.parent_process() is not None
        if is_child:
            hear_errors_of_child(trainer, lambda error: self.on_exception(trainer, trainer.lightning_module, error))
        if self.watch is None:
            self.watch = RankWatch(self._advice, lambda: end_children(trainer, 0.0), is_child)
            self.watch.start()
            end_observer()

    def _advice(self) -> str:
        return how_to_resume(self.folder, self._last(), self.trusted)

    def _last(self) -> Path | None:
        return None if self.folder is None else self.folder / "checkpoints" / "last.ckpt"
