"""What can be done with a finished run, as commands to copy."""

import shlex
from argparse import Namespace
from pathlib import Path

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.model_helpers import is_overridden

from discrete_lightning.cli.app import App
from discrete_lightning.cli.messages.places import shown

_OWN = ("config.yaml", "hparams.yaml")


def next_commands(app: App) -> list[str]:
    """Commands that go on from the run of `app`: its evaluation, the configs that it wrote, its upload to W&B."""
    folder, request = app.run.folder, app.request
    if folder is None:
        return []
    commands = []
    if request.command == "fit":
        trained = any((folder / "checkpoints").glob("*.ckpt"))
        verbs = _verbs(app.model, app.datamodule) if trained else []
        commands += [_command(verb, folder, request) for verb in verbs]
        written = sorted(path for path in folder.glob("*.yaml") if path.name not in _OWN)
        commands += [_command("fit", path, request) for path in written]
    for logger in app.trainer.loggers:
        if isinstance(logger, WandbLogger) and logger.experiment.settings.mode == "offline":
            commands.append(f"wandb sync {shlex.quote(shown(Path(logger.experiment.settings.sync_dir)))}")
    return commands


def _verbs(model: LightningModule, data: LightningDataModule | None) -> list[str]:
    source = model if data is None else data
    loaders = {"test": "test_dataloader", "predict": "predict_dataloader"}
    verbs = [verb for verb, loader in loaders.items() if is_overridden(loader, source)]
    return [verb for verb in verbs if verb == "predict" or is_overridden("test_step", model)]


def _command(verb: str, source: Path, request: Namespace) -> str:
    trusted = "".join(f" --trust {prefix}" for prefix in request.trust)
    return f"discrete-lightning {verb} -c {shlex.quote(str(source))}{trusted}"
