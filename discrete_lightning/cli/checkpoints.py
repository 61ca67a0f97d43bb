"""Which checkpoint a command means."""

from argparse import Namespace
from pathlib import Path

from discrete_lightning.cli.errors import CliError
from discrete_lightning.training.checkpoints import checkpoint_of_run


def select_checkpoint(asked: Namespace) -> str | None:
    """The checkpoint to load: what `--ckpt_path` means, or else the last one of the run to be evaluated.

    Raises:
        CliError: the checkpoint is not there; the message lists those that are.
    """
    given, run = asked.ckpt_path, asked.run
    if given is None and run is not None and asked.command in ("validate", "test", "predict"):
        given = "last"
    if given is None or given in ("null", "hpc") or given.startswith("registry") or "://" in given:
        return given
    if given in ("last", "best") and run is None:
        raise CliError(f"--ckpt_path {given} is the {given} checkpoint of a run, and -c names no run folder")
    path = checkpoint_of_run(run, given) if given in ("last", "best") else Path(given)
    if not path.exists():
        there = sorted(found.name for found in path.parent.glob("*.ckpt"))
        hint = f"that folder holds {', '.join(there)}" if there else "that folder holds no checkpoint"
        raise CliError(f"there is no checkpoint {path}: {hint}; give one with --ckpt_path")
    return str(path.resolve())
