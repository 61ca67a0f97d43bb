"""A run of a trainer: its folder, its config, loggers, a checkpoint, progress lines, and the clean-up at its end."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import WandbLogger

from discrete_lightning.training.checkpoints import checkpoint_of_run
from discrete_lightning.training.epoch_lines import EpochLines
from discrete_lightning.training.exact_resume import ExactResume
from discrete_lightning.training.launch_record import begin_attempt
from discrete_lightning.training.prediction_file import PredictionFile
from discrete_lightning.training.prediction_writer import PredictionWriter
from discrete_lightning.training.run_folder import claim_folder, discard_folder, earlier_attempt
from discrete_lightning.training.run_loggers import WandbOptions, default_loggers
from discrete_lightning.training.run_recorder import RunRecorder
from discrete_lightning.training.run_report import print_attempt


class Run:
    """What a run adds to its trainer's arguments.

    Args:
        name: of runs of this kind: the run's folder is `root/name/<time stamp><suffix>`.
        config: text of the config, YAML, written to the folder as config.yaml and logged as hyper-parameters.
        root: the folder of all runs.
        suffix: added to the time stamp.
        exact: this folder instead, which must be empty or not there.
        wandb: options of W&B.
        trusted: modules that the config may name.
    """

    def __init__(
        self,
        name: str,
        config: str,
        root: Path = Path("runs"),
        suffix: str = "",
        exact: Path | None = None,
        wandb: WandbOptions | None = None,
        trusted: Sequence[str] = (),
    ) -> None:
        self.name, self.recorder = name, RunRecorder(yaml.safe_load(config), trusted)
        self._place, self._exact, self._made = (root / name, suffix, exact, config), exact, True
        self._wandb = WandbOptions() if wandb is None else wandb
        self._loggers: list[Any] = []
        self.is_restarted = False

    @property
    def folder(self) -> Path | None:
        """The run's folder; None where nothing is written."""
        return self.recorder.folder

    @property
    def restart_checkpoint(self) -> Path | None:
        """The last checkpoint of an earlier attempt of this run; None for a first attempt, or where it has written none."""
        return checkpoint_of_run(self.folder, "last") if self.is_restarted and self.folder is not None else None

    def trainer_arguments(
        self, trainer: Any, write: bool = True, predicts: bool = False, resumes: bool = False
    ) -> dict[str, Any]:
        """Arguments of the trainer that replace some of its config's.

        What the config chose stays: its loggers, checkpoints, progress bar and root folder.

        Args:
            trainer: the arguments of the config, as attributes, instantiated.
            write: whether the run has a folder.
            predicts: whether the run makes predictions: they are written, and nothing is logged to W&B.
            resumes: whether the run goes on with its folder where a launcher starts it again.

        Raises:
            OSError: the folder is in use (FileExistsError), or cannot be made.
        """
        given = trainer.callbacks or []
        callbacks: list[Callback] = [*(given if isinstance(given, list) else [given])]
        arguments: dict[str, Any] = {}
        if not sys.stdout.isatty() and not trainer.barebones:
            if trainer.enable_progress_bar is None and not any(isinstance(each, ProgressBar) for each in callbacks):
                arguments["enable_progress_bar"] = False
                callbacks.append(EpochLines())
            if trainer.enable_model_summary is None:
                arguments["enable_model_summary"] = False
        if not write:
            if trainer.logger is None:
                arguments["logger"] = False
        else:
            self._made = self._exact is None or not self._exact.exists()
            root, _, exact, config = self._place
            self.is_restarted = resumes and earlier_attempt(root, exact, config) is not None
            begin_attempt()
            folder = self.recorder.folder = claim_folder(*self._place, resumes=resumes)
            if resumes:
                print_attempt(folder, self.is_restarted, self.restart_checkpoint)
            if trainer.default_root_dir is None:
                arguments["default_root_dir"] = str(folder)
            if not trainer.barebones:
                if trainer.logger is None or trainer.logger is True:
                    options = replace(self._wandb, enabled=self._wandb.enabled and not predicts)
                    arguments["logger"] = self._loggers = default_loggers(folder, options)
                if predicts and not any(
                    isinstance(each, BasePredictionWriter | PredictionWriter) for each in callbacks
                ):
                    callbacks.append(PredictionFile())
                callbacks += _checkpoints(trainer, folder / "checkpoints", callbacks)
        if not any(isinstance(each, ExactResume) for each in callbacks):
            callbacks.append(ExactResume())
        return {**arguments, "callbacks": [*callbacks, self.recorder]}

    def finish(self, exit_code: int, partial_results: bool = True) -> None:
        """Ends the W&B run that this run started, and removes the folder of a run that failed before it had results.

        Args:
            exit_code: of the run; 0 is success.
            partial_results: whether a run that fails once data went through the model leaves results.
        """
        for logger in self._loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=exit_code)
        if exit_code != 0 and self.folder is not None and not (self.recorder.started and partial_results):
            discard_folder(self.folder, self._made)


def _checkpoints(trainer: Any, folder: Path, callbacks: list[Callback]) -> list[Callback]:
    """Gives the config's ModelCheckpoints their folder, and adds one unless one of them keeps the last weights there."""
    kept = False
    for each in callbacks:
        if isinstance(each, ModelCheckpoint) and each.dirpath is None:
            each.dirpath = str(folder)
            kept |= bool(each.save_last) or (each.monitor is None and each.every_n_epochs == 1)
    return [] if kept or trainer.enable_checkpointing is False else [LastCheckpoint(folder)]


class LastCheckpoint(ModelCheckpoint):
    """Keeps the newest weights, as last.ckpt.

    At each epoch's end, whether it validates or not: a short run must not end without its weights. A class of its own, so that
    its state is another one than that of a ModelCheckpoint in a config.

    Args:
        folder: of the file.
    """

    def __init__(self, folder: Path) -> None:
        # `last` as the file's name: `save_last` would keep the same weights twice
        super().__init__(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
