"""Names of files and folders in a config do not lead out of the run's folder; that folder is for the command line to choose."""

from argparse import Namespace
from typing import Any

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.messages.places import place_of
from discrete_lightning.training.run_files import check_inside

_NAMES = ("filename", "name", "version", "prefix", "sub_dir", "run_name", "experiment_name", "group", "id")


def check_names(trainer: Any, request: Namespace) -> None:
    """Raises CliError if a callback, logger or profiler is to write outside of its folder.

    Where a config says which folder that is (`dirpath`, `save_dir`, `default_root_dir`), it is taken as given.

    Args:
        trainer: the parsed options of the trainer.
        request: see `entry.read_command`.
    """
    for key, value in _texts(trainer, "trainer"):
        if key.rpartition(".")[2] in _NAMES:
            try:
                check_inside(value)
            except ValueError as error:
                raise CliError(f"{key}: {error}{place_of(key, request)}", MISUSE) from None


def _texts(value: Any, key: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(key, value)]
    inside = vars(value) if isinstance(value, Namespace) else value if isinstance(value, dict) else {}
    pairs = enumerate(value) if isinstance(value, list | tuple) else inside.items()
    return [each for name, below in pairs for each in _texts(below, key if name == "init_args" else f"{key}.{name}")]
