"""Ctrl-C, SIGTERM and faults outside the model during a fit: the weights are saved."""

import multiprocessing
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from discrete_lightning.protocols import OutsideFault
from discrete_lightning.training._lightning_private import dump_checkpoint

INTERRUPTED = 130  # 128 + SIGINT, as shells report Ctrl-C
TERMINATED = 143  # 128 + SIGTERM


class GracefulInterrupt(Callback):
    """Handles Ctrl-C after the current batch, a second Ctrl-C at once, and saves a checkpoint when a fit is interrupted.

    An interrupt in the middle of a step would leave half of it in the weights, and a resumed run would take the step again. An
    `OutsideFault`, such as that of an environment, ends a fit as it happens; it is raised again.

    Args:
        checkpoint: the file to write when a fit is interrupted, by Ctrl-C, SIGTERM or an `OutsideFault`; None for none.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM, None if the run was not interrupted.
        is_stopped: whether another process asks this one to stop after the batch.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> interrupt = GracefulInterrupt("last.ckpt")
        >>> trainer = Trainer(callbacks=[interrupt], logger=False, enable_checkpointing=False)
        >>> interrupt.exit_code is None
        True
    """

    def __init__(self, checkpoint: Path | str | None = None) -> None:
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.exit_code: int | None = None
        self._interrupts = 0
        self._before: Any = None  # the handler of SIGINT outside of batches

    @property
    def is_stopped(self) -> bool:
        return False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if threading.current_thread() is threading.main_thread() and self._before is None:
            self._interrupts, self._before = 0, signal.signal(signal.SIGINT, self._note)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._restore()
        is_child = multiprocessing.parent_process() is not None  # of `ddp_spawn` or `ddp_fork`
        if not (self._interrupts or self.is_stopped or (is_child and trainer.received_sigterm)):
            return
        if is_child:  # Lightning calls on_exception in the process that started this one, which has not trained
            self.on_exception(trainer, pl_module, KeyboardInterrupt())
        raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore()
        if not isinstance(exception, (KeyboardInterrupt, SIGTERMException, OutsideFault)):
            return
        if not isinstance(exception, OutsideFault):
            self.exit_code = INTERRUPTED if isinstance(exception, KeyboardInterrupt) else TERMINATED
        if self.checkpoint is None or trainer.state.fn != TrainerFn.FITTING:
            return
        if trainer.world_size == 1:
            trainer.save_checkpoint(self.checkpoint, weights_only=False)
        elif trainer.is_global_zero and isinstance(trainer.strategy, DDPStrategy):
            # save_checkpoint would wait for the other processes, which may be anywhere, or gone.
            trainer.strategy.checkpoint_io.save_checkpoint(dump_checkpoint(trainer), self.checkpoint)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._interrupts > 1:
            self._restore()
            raise KeyboardInterrupt

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
