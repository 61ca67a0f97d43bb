"""`check`: one batch through the model, its optimiser and its validation, without writing anything."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.model_helpers import is_overridden

from discrete_lightning.cli.errors import CliError, did_you_mean

# one process, and nothing that writes files
_ALONE: dict[str, Any] = {
    "fast_dev_run": 1,
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "logger": False,
    "profiler": None,
    "barebones": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": None,
}


def trial_trainer(options: dict[str, Any], callbacks: Sequence[Callback]) -> Trainer:
    """A trainer of one batch with the options of a config, and those callbacks that are known to write nothing.

    Args:
        options: arguments of the trainer.
        callbacks: of the config.
    """
    kept = [each for each in callbacks if type(each).__module__.startswith("discrete_lightning.")]
    return Trainer(**{**options, **_ALONE, "callbacks": kept})


def try_one_batch(
    trainer: Trainer, model: LightningModule, data: LightningDataModule | None, callbacks: Sequence[Callback]
) -> bool:
    """Trains and validates on one batch.

    Args:
        trainer: see `trial_trainer`.
        model: is changed.
        data: the data module; None where the model has its own data. It prepares nothing: preparing may download.
        callbacks: of the config; what they monitor must be logged, unless the trial leaves out a callback of the user's own.

    Returns:
        Whether there was a batch to try.

    Raises:
        CliError: a callback monitors what the model does not log.
    """
    prepares = data is not None and is_overridden("prepare_data", data, LightningDataModule)
    if data is not None:
        data.prepare_data = _nothing  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they judge what a run ends with
            trainer.fit(model, datamodule=data)
    except FileNotFoundError as error:
        if not prepares:
            raise
        print(f"note: no batch was tried, since the data are not here yet, and fit gets them: {error}", file=sys.stderr)
        return False
    known = ("discrete_lightning.", "lightning.")
    if not all(type(each).__module__.startswith(known) for each in callbacks):
        return True
    for each in callbacks:
        monitor = each.monitor if isinstance(each, EarlyStopping | ModelCheckpoint) else None
        if monitor is not None and monitor not in trainer.callback_metrics:
            logged = sorted(trainer.callback_metrics)
            name = type(each).__name__
            raise CliError(
                f"{name} monitors {monitor!r}, which is not logged{did_you_mean(monitor, logged, show=repr)} "
                f"(logged are {', '.join(logged)})"
            )
    return True


def _nothing() -> None:
    """What is done in place of preparing data."""
