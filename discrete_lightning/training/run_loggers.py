"""The loggers of a run whose config sets none: a CSV file, and Weights & Biases."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from discrete_lightning.training.metrics_file import MetricsFile
from discrete_lightning.training.run_folder import is_first_process

DEFAULT_PROJECT = "discrete_lightning"
_PATIENCE = 15  # seconds to reach the server; W&B's own 90 would hold up every run on a machine without network


@dataclass
class WandbOptions:
    """Weights & Biases, used where the config sets no `trainer.logger`.

    Args:
        project: the W&B project; the environment variable WANDB_PROJECT replaces the default.
        enabled: whether to log to W&B at all, offline where there is no key.
    """

    project: str = DEFAULT_PROJECT
    enabled: bool = True


def default_loggers(folder: Path, options: WandbOptions) -> list[Logger]:
    """`metrics.csv` in the run's folder, then W&B unless it is disabled.

    Says in one line when W&B logs offline because there is no key, or because its server does not answer. Never asks for a
    key. Where a W&B run has been started already (`wandb.init`), that one is used.
    """
    loggers: list[Logger] = [MetricsFile(folder)]
    mode = _wandb_mode() if options.enabled and is_first_process() else "disabled"
    if mode == "disabled":
        return loggers
    project = options.project
    if project == DEFAULT_PROJECT:
        project = os.environ.get("WANDB_PROJECT", project)
    run = _start("-".join(folder.resolve().parts[-2:]), folder, project, mode)
    return [*loggers, WandbLogger(experiment=run, save_dir=folder)]


def _start(name: str, folder: Path, project: str, mode: str) -> Any:
    import wandb

    if wandb.run is not None:
        return wandb.run
    os.environ["WANDB_SILENT"] = "true"
    settings = wandb.Settings(silent=True, console="off", init_timeout=_PATIENCE)
    # W&B's service process has another working directory.
    options: dict[str, Any] = {"name": name, "dir": folder.resolve(), "project": project, "settings": settings}
    if mode == "online":
        try:
            run = wandb.init(**options, mode="online")
            print(f"W&B: {run.url}")
            return run
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split()).partition(". ")[0]
            print(f"W&B logs offline, because its server did not answer ({reason}): `wandb sync` uploads it later")
    return wandb.init(**options, mode="offline")


def _wandb_mode() -> str:
    """The mode that the user set ("online", "offline" or "disabled"), or "online" if there is a key, else "offline"."""
    mode = os.environ.get("WANDB_MODE", "").lower()
    if not mode and os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        mode = "disabled"
    mode = "offline" if mode == "dryrun" else mode
    if mode in ("disabled", "offline", "online"):
        return mode

    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    mode = str(wandb.setup().settings.mode)  # from W&B's settings files (`wandb offline`, `wandb disabled`)
    if mode in ("disabled", "offline"):
        return mode
    try:
        if wandb.login(prompt=False, verify=False):
            return "online"
        reason = "there is no API key"
    except wandb.errors.Error as error:
        reason = f"the API key is unusable ({error})"
    print(f"W&B logs offline, because {reason}: run `wandb login` to log online (WANDB_MODE=disabled: not at all)")
    return "offline"
