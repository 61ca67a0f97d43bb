"""The loggers of a run whose config sets none: a CSV file, and Weights & Biases."""

import os
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger

from discrete_lightning.cli.run_folder import is_first_process
from discrete_lightning.cli.wandb_logger import QuietWandbLogger

DEFAULT_PROJECT = "discrete_lightning"


@dataclass
class WandbOptions:
    """Weights & Biases, used where the config sets no `trainer.logger`.

    Args:
        project: the W&B project; the default gives way to the environment variable WANDB_PROJECT.
        enabled: whether to log to W&B at all, offline where there is no key.
    """

    project: str = DEFAULT_PROJECT
    enabled: bool = True


def default_loggers(folder: Path, options: WandbOptions) -> list[Logger]:
    """`metrics.csv` in the run's folder, then W&B unless it is disabled.

    Says in one line when W&B logs offline for want of a key. Never asks for one.
    """
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    mode = _wandb_mode() if options.enabled and is_first_process() else "disabled"
    if mode != "disabled":
        name = "-".join(folder.resolve().parts[-2:])
        project = options.project
        if project == DEFAULT_PROJECT:
            project = os.environ.get("WANDB_PROJECT", project)
        loggers.append(QuietWandbLogger(name, folder, project, offline=mode == "offline"))
    return loggers


def _wandb_mode() -> str:
    """What the user set ("online", "offline" or "disabled"), or else by whether there is a key."""
    mode = os.environ.get("WANDB_MODE", "").lower()
    if not mode and os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        mode = "disabled"
    if mode in ("disabled", "offline", "online"):
        return mode
    if mode == "dryrun":
        return "offline"

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
