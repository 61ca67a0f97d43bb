"""A W&B logger that keeps off the console and goes offline when the server cannot be reached."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from discrete_lightning.cli.errors import one_line

_PATIENCE = 15  # seconds to reach the server; W&B's own 90 would hold up every run on a machine without network


class QuietWandbLogger(WandbLogger):
    """WandbLogger as a run of the command line needs it: no output of W&B's own, offline rather than failing.

    Args:
        name: of the run.
        folder: the run's folder; W&B writes to `wandb/` in it.
        project: the W&B project.
        offline: whether to write to the disk only; `wandb sync` uploads it later.
    """

    def __init__(self, name: str, folder: Path, project: str, offline: bool) -> None:
        import wandb

        settings = wandb.Settings(silent=True, console="off", init_timeout=_PATIENCE)
        # W&B's service process has a working directory of its own.
        super().__init__(name=name, save_dir=folder.resolve(), project=project, offline=offline, settings=settings)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it, at any value
        self._owned = False

    @property
    def experiment(self) -> Any:
        """The W&B run, started at the first access."""
        import wandb

        if self._experiment is not None or wandb.run is not None:
            return super().experiment
        os.environ["WANDB_SILENT"] = "true"
        self._owned = True
        if self._offline:
            # Not WandbLogger's way (an environment variable): W&B reads those once a process.
            self._wandb_init["mode"] = "offline"
            return super().experiment
        try:
            run = super().experiment
            print(f"W&B: {run.url}")
            return run
        except wandb.errors.Error as error:
            reason = one_line(error).partition(". ")[0]
            print(f"W&B logs offline, because its server did not answer ({reason}): `wandb sync` uploads it later")
            self._offline = True
            return self.experiment

    def finish(self, exit_code: int) -> None:
        """Ends the W&B run, if this logger started it."""
        if self._owned and self._experiment is not None:
            self._experiment.finish(exit_code=exit_code)
