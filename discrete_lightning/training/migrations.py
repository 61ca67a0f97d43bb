"""Which version wrote a checkpoint, and the one place for what has changed since.

Each checkpoint that a run or a model of this package writes holds

    discrete_lightning: {version: 0.1.0, format: 1, classes: [class of the model, its bases]}

`MIGRATIONS[n]` takes a checkpoint of format n to format n + 1. One without the entry is of format 0: an earlier version wrote
it, or Lightning alone. **To change what a checkpoint holds,** add a function at the end of the table; the format is its length.
"""

import re
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule

from discrete_lightning import __version__
from discrete_lightning.training.damage import CheckpointError

KEY = "discrete_lightning"
_BLOCK = re.compile(r"(.*\.)?(qkv|out)\.weight")


def attention_in_blocks(checkpoint: dict[str, Any], classes: frozenset[str]) -> None:
    """0 to 1. Blocks of RoutedLanguageModel held `qkv` and `out` themselves, and hold an `attention` now that has them."""
    if "RoutedLanguageModel" not in classes:
        return
    weights = checkpoint["state_dict"]
    for key in list(weights):
        found = _BLOCK.fullmatch(key)
        if found and any(other.startswith(f"{found[1] or ''}feed_forward.") for other in weights):
            weights[f"{found[1] or ''}attention.{found[2]}.weight"] = weights.pop(key)


def designs_without_diversity(checkpoint: dict[str, Any], classes: frozenset[str]) -> None:
    """1 to 2. SequenceDesigner had no argument `diverse`, and its searches no archive of diverse sequences: it begins empty."""
    if "SequenceDesigner" in classes and "search" in (arguments := checkpoint.get("hyper_parameters", {})):
        arguments.setdefault("diverse", False)


Migration = Callable[[dict[str, Any], frozenset[str]], None]
MIGRATIONS: tuple[Migration, ...] = (attention_in_blocks, designs_without_diversity)


def mark(checkpoint: dict[str, Any], model: LightningModule) -> None:
    """Writes the version, the format and the model's classes into the checkpoint."""
    classes = [f"{each.__module__}.{each.__qualname__}" for each in _own_classes(type(model))]
    checkpoint[KEY] = {"version": __version__, "format": len(MIGRATIONS), "classes": classes}


def migrate(checkpoint: dict[str, Any], model: type[LightningModule], name: str) -> None:
    """Brings a checkpoint to the present format, in place. Does nothing to one that is of it.

    Args:
        checkpoint: of Lightning, with a "state_dict".
        model: the class that is to read it. Migrations apply to it and to its subclasses.
        name: of the checkpoint, in messages: "the checkpoint runs/a/last.ckpt".

    Raises:
        CheckpointError: a later version wrote it, or what it says of its version makes no sense.
    """
    written = checkpoint.get(KEY, {"format": 0})
    number = written.get("format") if isinstance(written, dict) else None
    if type(number) is not int or number < 0:
        raise CheckpointError(f"{name} does not say which format it has: its entry {KEY!r} is {written!r:.80}")
    if number > len(MIGRATIONS):
        raise CheckpointError(
            f"{name} was written by discrete_lightning {written.get('version')} (format {number}), and this is "
            f"{__version__} (format {len(MIGRATIONS)}): upgrade discrete_lightning, or give another checkpoint"
        )
    classes = frozenset(each.__name__ for each in _own_classes(model))
    for change in MIGRATIONS[number:]:
        change(checkpoint, classes)
    checkpoint[KEY] = {**written, "format": len(MIGRATIONS)}


def check_model(checkpoint: dict[str, Any], model: type[LightningModule], name: str) -> None:
    """Raises CheckpointError if a model of another class wrote the checkpoint: neither the same, nor a base, nor a subclass.

    Classes are compared by their names without the module, so that a file may be renamed. A checkpoint that says nothing of its
    class is let through.

    Args:
        checkpoint: of Lightning.
        model: the class that is to read it.
        name: of the checkpoint, in messages.
    """
    written = checkpoint.get(KEY, {}).get("classes") or [(checkpoint.get("hyper_parameters") or {}).get("_class_path")]
    if not written[0]:
        return
    theirs = [str(each).rpartition(".")[2] for each in written]
    ours = [each.__name__ for each in _own_classes(model)]
    if theirs[0] not in ours and ours[0] not in theirs:
        raise CheckpointError(
            f"{name} is of another model: {theirs[0]} wrote it, and this is {ours[0]}. Use the config it was trained with "
            f"(-c RUN), {theirs[0]}.load_from_checkpoint in code, or another checkpoint"
        )


def _own_classes(model: type[LightningModule]) -> list[type]:
    """The class and its bases, up to Lightning's own."""
    return [each for each in model.__mro__ if issubclass(each, LightningModule) and each is not LightningModule]
