"""What a run adds to the trainer of its config: a folder, loggers, a checkpoint, a console that suits the terminal."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ProgressBar

from discrete_lightning.cli import run_folder
from discrete_lightning.cli.checkpoints import LAST
from discrete_lightning.cli.invocation import Invocation
from discrete_lightning.cli.loggers import WandbOptions, default_loggers
from discrete_lightning.cli.progress import EpochLines
from discrete_lightning.cli.run_recorder import RunRecorder
from discrete_lightning.cli.sources import CHECKPOINTS
from discrete_lightning.cli.wandb_logger import QuietWandbLogger


class RunTrainer:
    """The trainer's arguments for one run, and what has to be undone or finished at its end.

    Args:
        invocation: what was asked for.
        model: the model, which names the run if no config does.
        config: text of the parsed config.
        wandb: options of W&B.
    """

    def __init__(self, invocation: Invocation, model: LightningModule, config: str, wandb: WandbOptions) -> None:
        self.invocation = invocation
        # Predictions log nothing.
        self._wandb = replace(wandb, enabled=wandb.enabled and invocation.command not in ("predict", "decode"))
        self.name = invocation.sources[0].name if invocation.sources else type(model).__name__
        self.recorder = RunRecorder(None, config, yaml.safe_load(config))
        self._loggers: list[Any] = []

    @property
    def folder(self) -> Path | None:
        """The run's folder; None where nothing is written."""
        return self.recorder.folder

    def arguments(self, trainer: Any, callbacks: list[Callback]) -> dict[str, Any]:
        """Arguments that override those of the config, whose own choices are kept.

        Args:
            trainer: the config's arguments, instantiated.
            callbacks: further callbacks.

        Raises:
            CliError: the run's folder cannot be made.
        """
        # `decode` runs a wrapper of the model, which the config's callbacks do not know.
        given = (trainer.callbacks or []) if self.invocation.command != "decode" else []
        callbacks = [*(given if isinstance(given, list) else [given]), *callbacks]
        arguments: dict[str, Any] = {}
        if not sys.stdout.isatty() and not trainer.barebones:
            if trainer.enable_progress_bar is None and not any(isinstance(each, ProgressBar) for each in callbacks):
                arguments["enable_progress_bar"] = False
                callbacks.append(EpochLines())
            if trainer.enable_model_summary is None:
                arguments["enable_model_summary"] = False
        if self.invocation.command == "decode":  # one file, written by one process
            arguments |= {"devices": 1, "num_nodes": 1, "strategy": "auto"}
        if self.invocation.command == "check" or trainer.fast_dev_run:
            if trainer.logger is None:
                arguments["logger"] = False
        else:
            folder = self.recorder.folder = run_folder.claim(self.invocation, self.name)
            if trainer.default_root_dir is None:
                arguments["default_root_dir"] = str(folder)
            if not trainer.barebones:
                if trainer.logger is None or trainer.logger is True:
                    arguments["logger"] = self._loggers = default_loggers(folder, self._wandb)
                callbacks += self._checkpoints(trainer, folder, callbacks)
        return {**arguments, "callbacks": [*callbacks, self.recorder]}

    def _checkpoints(self, trainer: Any, folder: Path, callbacks: list[Callback]) -> list[Callback]:
        checkpoints = [each for each in callbacks if isinstance(each, Checkpoint)]
        for each in checkpoints:
            if isinstance(each, ModelCheckpoint) and each.dirpath is None:
                each.dirpath = str(folder / CHECKPOINTS)
        if checkpoints or trainer.enable_checkpointing is False:
            return []
        # Named like the last one and overwritten: one file, where `save_last` would keep the same weights twice.
        name = Path(LAST).stem
        # At each epoch's end, whether it validates or not: a short run must not end without its weights.
        checkpoint = ModelCheckpoint(
            folder / CHECKPOINTS, filename=name, save_on_train_epoch_end=True, enable_version_counter=False
        )
        return [checkpoint]

    def finish(self, exit_code: int) -> None:
        """Ends the loggers that this run started."""
        for logger in self._loggers:
            if isinstance(logger, QuietWandbLogger):
                logger.finish(exit_code)

    def discard(self) -> None:
        """Removes the folder of a run that failed before any data went through the model."""
        if self.folder is not None and not self.recorder.started:
            run_folder.discard(self.folder)
