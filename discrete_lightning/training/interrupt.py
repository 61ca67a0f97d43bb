"""Ctrl-C, SIGTERM, SIGUSR1 and faults outside the model during a fit: the weights are saved, by all ranks at one batch."""

import multiprocessing
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.multiprocessing.spawn import ProcessExitedException

from discrete_lightning.distributed import world_size
from discrete_lightning.protocols import AccumulatesGradients, OutsideFault
from discrete_lightning.training._lightning_private import call_between_batches, is_between_steps
from discrete_lightning.training.requeue import requeue_job
from discrete_lightning.training.stop_signals import EXIT_CODES, WARNING, StopSignals, stop_error


class GracefulInterrupt(Callback):
    """Saves a checkpoint when a fit is interrupted by Ctrl-C, SIGTERM or SIGUSR1, and ends the fit on all ranks.

    A signal is noted, on whichever rank it comes. Before each batch the ranks agree whether one of them has noted one, in
    the place where Lightning tells all ranks of rank 0's SIGTERM; where gradients are accumulated, they go on to the
    optimiser's step. All of them then save, at the same batch, with nothing half done. A validation is finished first. A second
    Ctrl-C leaves at once. SIGUSR1 is SLURM's usual warning (`--signal=USR1@120`): where SLURM started the job, it is requeued.

    An `OutsideFault`, such as that of an environment, ends a fit as it happens; a single process saves, and it is raised again.

    Args:
        checkpoint: the file to write; None for none.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM, 75 after SIGUSR1, None if the run was not interrupted.
        signals: the handlers.

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
        self.signals = StopSignals()
        self._trains = self._saved = False

    @property
    def asked(self) -> int:
        """The number of a signal that another process passes on; 0 for none."""
        return 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trains, self._saved = True, False
        self.signals.noted = 0
        self.signals.handle(wait=True)  # in place of Lightning's own, which are set just before
        call_between_batches(trainer, self._between_batches)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signals.handle(wait=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            self.signals.handle(wait=False)

    on_test_start = on_predict_start = on_sanity_check_start

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        number = self._agree(trainer)  # during the last batch, or the validation after it
        if number:
            self._stop(trainer, number, is_saved=self.checkpoint is not None and self.checkpoint.exists())
        self._end(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._end(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        trains = self._trains
        self._end(trainer)
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):
            number = signal.SIGINT if isinstance(exception, KeyboardInterrupt) else self.signals.noted or signal.SIGTERM
            self.exit_code = self.exit_code or EXIT_CODES[number]
        elif isinstance(exception, ProcessExitedException) and exception.exit_code in EXIT_CODES.values():
            self.exit_code = exception.exit_code
        elif not isinstance(exception, OutsideFault):
            return
        # Other ranks may be anywhere, or gone: their part of a checkpoint cannot be had, and the last one stands.
        if trains and not self._saved and self.checkpoint is not None and trainer.world_size == 1:
            trainer.save_checkpoint(self.checkpoint, weights_only=False)

    def _between_batches(self, trainer: Trainer) -> None:
        number = self._agree(trainer)
        module = trainer.lightning_module
        waits = isinstance(module, AccumulatesGradients) and module.has_pending_gradients()
        if number and is_between_steps(trainer) and not waits:
            self._stop(trainer, number)

    def _agree(self, trainer: Trainer) -> int:
        """The number of the signal that ends the fit on all ranks; 0 to go on."""
        number = self.signals.noted or self.asked
        if world_size() == 1:
            return number
        numbers = torch.tensor([number], device=trainer.strategy.root_device)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def _stop(self, trainer: Trainer, number: int, is_saved: bool = False) -> None:
        if self.checkpoint is not None and not is_saved:
            trainer.save_checkpoint(self.checkpoint, weights_only=False)
        self._saved, self.exit_code = True, EXIT_CODES[number]
        if number == WARNING and trainer.is_global_zero and (line := requeue_job()):
            print(line, file=sys.stderr, flush=True)
        if (
            multiprocessing.parent_process() is not None
        ):  # of `ddp_spawn` or `ddp_fork`, and seen there by the exit code alone
            raise SystemExit(self.exit_code)
        raise stop_error(number)

    def _end(self, trainer: Trainer) -> None:
        self._trains = False
        call_between_batches(trainer, None)
        self.signals.release()
