"""The loggers of a run whose config sets none: a CSV file, and Weights & Biases."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from discrete_lightning.training.metrics_file import MetricsFile
from discrete_lightning.training.run_folder import is_first_process

DEFAULT_PROJECT = "discrete_lightning"
_MODES = ("online", "offline", "disabled", "shared")
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
    key. Where a W&B run has been started already (`wandb.init`), that one is used. W&B's files are in the run's folder, or in
    WANDB_DIR where that is set.

    Raises:
        ValueError: WANDB_MODE, or another setting of W&B, has a value that it does not know.
    """
    loggers: list[Logger] = [MetricsFile(folder)]
    if not options.enabled or not is_first_process() or _mode_set() == "disabled":
        return loggers
    from pydantic import ValidationError  # of W&B's settings

    try:
        mode = _wandb_mode()
        if mode == "disabled":
            return loggers
        project = options.project
        if project == DEFAULT_PROJECT:
            project = os.environ.get("WANDB_PROJECT", project)
        run = _start("-".join(folder.resolve().parts[-2:]), folder, project, mode)
    except ValidationError as error:
        reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"W&B refuses its settings ({reason}): look at the environment variables WANDB_*") from None
    return [*loggers, WandbLogger(experiment=run, save_dir=folder)]


def _start(name: str, folder: Path, project: str, mode: str) -> Any:
    import wandb

    if wandb.run is not None:
        return wandb.run
    os.environ["WANDB_SILENT"] = "true"
    settings = wandb.Settings(silent=True, console="off", init_timeout=_PATIENCE)
    options: dict[str, Any] = {"name": name, "dir": _place(folder), "project": project, "settings": settings}
    if mode == "online":
        try:
            run = wandb.init(**options, mode="online")
            print(f"W&B: {run.url}")
            return run
        except wandb.errors.Error as error:
            reason = " ".join(str(error).split()).partition(". ")[0]
            print(f"W&B logs offline, because its server did not answer ({reason}): `wandb sync` uploads it later")
            for dead in folder.glob("wandb/run-*"):  # of the attempt, without data
                shutil.rmtree(dead, ignore_errors=True)
    return wandb.init(**options, mode="offline")


def _place(folder: Path) -> Path:
    """Where W&B writes; absolute, since its service process has another working directory."""
    given = os.environ.get("WANDB_DIR")
    if not given:
        return folder.resolve()
    try:
        Path(given, "wandb").mkdir(parents=True, exist_ok=True)  # where it puts its files
    except OSError as error:
        print(f"WANDB_DIR={given} cannot be made ({error.strerror}): W&B writes to {folder}")
        return folder.resolve()
    return Path(given).resolve()


def _mode_set() -> str:
    """The mode that the environment sets, or ""."""
    given = os.environ.get("WANDB_MODE", "").lower()
    if not given and os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        return "disabled"
    mode = {"dryrun": "offline", "run": "online"}.get(given, given)
    if mode not in ("", *_MODES):
        raise ValueError(
            f"WANDB_MODE={given!r} is none of {', '.join(_MODES)}: correct the environment variable, or unset it"
        )
    return mode


def _wandb_mode() -> str:
    """The mode that the user set ("online", "offline" or "disabled"), or "online" if there is a key, else "offline"."""
    mode = _mode_set()
    if mode in ("disabled", "offline"):
        return mode

    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    configured = str(wandb.setup().settings.mode)  # from W&B's settings files (`wandb offline`, `wandb disabled`)
    if not mode and configured in ("disabled", "offline"):
        return configured
    try:
        if wandb.login(prompt=False, verify=False):
            return "online"
        reason = "there is no API key"
    except wandb.errors.Error as error:
        reason = f"the API key is unusable ({error})"
    print(f"W&B logs offline, because {reason}: run `wandb login` to log online (WANDB_MODE=disabled: not at all)")
    return "offline"
