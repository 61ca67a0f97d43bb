"""What `-c` may name: a config of the package, a file, or the folder of an earlier run."""

import re
from dataclasses import dataclass
from pathlib import Path

from discrete_lightning.cli.catalog import find_config, unknown_config
from discrete_lightning.cli.errors import MISUSE, CliError

CONFIG_FILE = "config.yaml"
CHECKPOINTS = "checkpoints"
_STAMPED = re.compile(r"\d{8}-\d{6}(-.*)?")


@dataclass(frozen=True)
class Source:
    """One config.

    Args:
        path: its file, absolute.
        name: what runs of it are called, `/` replaced by `-`.
        run: the folder of the run that wrote it, if one did.
    """

    path: Path
    name: str
    run: Path | None = None


def find_source(value: str) -> Source:
    """Finds what `-c value` means; what is on the disk comes before the package's configs.

    Raises:
        CliError: `value` is no file, no run folder and no config's name.
    """
    path = Path(value)
    if path.is_file():
        # The config.yaml of a run stands for the run, so that its checkpoints are found.
        run = path.parent if path.name == CONFIG_FILE and (path.parent / CHECKPOINTS).is_dir() else None
        return Source(path.resolve(), _run_name(run) if run else path.stem, run)
    if (path / CONFIG_FILE).is_file():
        return Source((path / CONFIG_FILE).resolve(), _run_name(path), path)
    packaged = find_config(value)
    if packaged is not None:
        return Source(packaged, value.removesuffix(".yaml").replace("/", "-"))
    if path.is_dir():
        raise CliError(f"the folder {value} is no run folder: it has no {CONFIG_FILE}", MISUSE)
    raise unknown_config(value, "a config of this name, a file or a run folder")


def _run_name(run: Path) -> str:
    """A repeated run is called like the first: run folders are `<name>/<time stamp>`, unless `--run_dir` named one."""
    run = run.resolve()
    return run.parent.name if _STAMPED.fullmatch(run.name) else run.name
