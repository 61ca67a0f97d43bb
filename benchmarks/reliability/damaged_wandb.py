"""Folders and settings of W&B that are not as it leaves them, for files.py: each prepares and gives variables to set."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Prepare = Callable[[Path], dict[str, str]]


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Within the block these variables are set; the others are as before, also after it."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _file(folder: Path) -> dict[str, str]:
    (folder / "taken").write_text("a file")
    return {"WANDB_DIR": str(folder / "taken")}


def _below_a_file(folder: Path) -> dict[str, str]:
    (folder / "taken2").write_text("a file")
    return {"WANDB_DIR": str(folder / "taken2" / "x")}


def _wandb_is_a_file(folder: Path) -> dict[str, str]:
    (folder / "place").mkdir()
    (folder / "place/wandb").write_text("a file")
    return {"WANDB_DIR": str(folder / "place")}


def _loop(folder: Path) -> dict[str, str]:
    (folder / "loop").symlink_to("loop")
    return {"WANDB_DIR": str(folder / "loop")}


def _foreign(folder: Path) -> dict[str, str]:
    place = folder / "foreign/wandb"
    (place / "offline-run-20200101_000000-abc").mkdir(parents=True)
    (place / "latest-run").symlink_to("nowhere")
    (place / "offline-run-20200101_000000-abc/run-abc.wandb").write_bytes(bytes(range(256)))
    (place / "debug.log").mkdir()
    return {"WANDB_DIR": str(place.parent)}


def _settings(content: bytes) -> Prepare:
    def prepare(folder: Path) -> dict[str, str]:
        place = folder / f"settings-{len(content)}"
        place.mkdir()
        (place / "settings").write_bytes(content)
        return {"WANDB_CONFIG_DIR": str(place), "WANDB_DIR": ""}

    return prepare


def _offline(prepare: Prepare) -> Prepare:
    return lambda folder: {"WANDB_MODE": "offline", "WANDB_API_KEY": "", **prepare(folder)}


FOLDERS: dict[str, Prepare] = {
    name: _offline(prepare)
    for name, prepare in {
        "WANDB_DIR is a file": _file,
        "WANDB_DIR is below a file": _below_a_file,
        "WANDB_DIR/wandb is a file": _wandb_is_a_file,
        "WANDB_DIR is a link to itself": _loop,
        "another's wandb folder": _foreign,
        "WANDB_DIR is a device": lambda folder: {"WANDB_DIR": "/dev/null"},
        "settings file is binary": _settings(bytes(range(256))),
        "settings file is cut": _settings(b"[defau"),
        "settings file is empty": _settings(b""),
    }.items()
}
