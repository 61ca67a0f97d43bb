"""Where callbacks put files: the run's folder, in which nothing is overwritten."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger


def output_folder(trainer: Trainer) -> Path:
    """The run's folder: the first logger's directory that has one, else the trainer's root."""
    for logger in trainer.loggers:
        if not isinstance(logger, WandbLogger) and logger.log_dir:
            return Path(logger.log_dir)
    return Path(trainer.default_root_dir)


def has_own_folder(trainer: Trainer) -> bool:
    """Whether the run has a folder that somebody chose: a model leaves no files where a program happens to run."""
    return output_folder(trainer).resolve() != Path.cwd()


def check_inside(name: str) -> None:
    """Raises ValueError if a file or folder of this name would not lie inside the folder it is put in.

    Example:
        >>> check_inside("designs/best.csv")
        >>> check_inside("../designs.csv")
        Traceback (most recent call last):
        ValueError: the name '../designs.csv' leads out of the run's folder: give one without '..' that is no absolute path
    """
    if Path(name).is_absolute() or ".." in Path(name.replace("\\", "/")).parts or "\0" in name:
        raise ValueError(
            f"the name {name!r} leads out of the run's folder: give one without '..' that is no absolute path"
        )


def fresh_path(folder: Path, name: str) -> Path:
    """`folder/name`, or with -2, -3 ... before the suffix if that exists: nothing a run has written is overwritten.

    Raises:
        ValueError: the name, which a config may give, leads out of the folder.
    """
    check_inside(name)
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / name, 1
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path
