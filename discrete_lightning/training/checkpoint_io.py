"""How checkpoints of a run are written and read: whole or not at all, and not before they have been checked."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from discrete_lightning.storage.digest import save_with_digest
from discrete_lightning.training.atomic_write import atomic_write
from discrete_lightning.training.damage import (
    CheckpointError,
    check_content,
    check_file,
    check_finite,
    check_resumable,
)
from discrete_lightning.training.migrations import check_model, mark, migrate

_FILE = "file://"
_CLASS = re.compile(r"GLOBAL (\S+)")


class RunCheckpointIO(TorchCheckpointIO):
    """Lightning's own way, for files of this machine: never overwritten in place, with a digest, and checked when read.

    A checkpoint of weights alone (`save_weights_only`) also says which one is the best, as whole ones do.

    Args:
        trainer: whose checkpoints they are.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._restored: tuple[Any, int] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes the file, or raises WriteError and leaves what was there."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        if "state_dict" in checkpoint and "callbacks" not in checkpoint:
            given = [each for each in self._trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
            checkpoint = {**checkpoint, "callbacks": {each.state_key: each.state_dict() for each in given}}
        if "state_dict" in checkpoint:
            mark(checkpoint, self._trainer.lightning_module)
        with atomic_write(path) as file:
            save_with_digest(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The content of the file; raises CheckpointError if it cannot be used for what the trainer is to do."""
        if "://" in str(path) and not str(path).startswith(_FILE):
            checkpoint = super().load_checkpoint(path, map_location, weights_only)
        else:
            path = Path(str(path).removeprefix(_FILE))
            check_file(path)
            checkpoint = read_checkpoint(path, weights_only=weights_only)
        check_content(checkpoint, path)
        prepare(checkpoint, self._trainer.lightning_module, f"the checkpoint {path}")
        if self._trainer.state.fn == TrainerFn.FITTING:
            check_resumable(checkpoint, path)
            self._restored = (path, len(checkpoint["optimizer_states"]))
        return checkpoint

    def check_restored(self) -> None:
        """To be called when the optimisers are there: Lightning restores as many as the checkpoint has, and says nothing.

        Raises:
            CheckpointError: the checkpoint has another number of optimisers than the model.
        """
        path, count = self._restored or (None, 0)
        self._restored = None
        there = len(self._trainer.optimizers)
        if path is not None and count != there:
            raise CheckpointError(
                f"the checkpoint {path} has the state of {count} optimisers, and the model has {there}, so training cannot go "
                "on from it: give another one; test and predict can use it"
            )


def prepare(checkpoint: dict[str, Any], model: LightningModule, name: str) -> None:
    """Brings a checkpoint to the present format, for a model to load it; doing it twice changes nothing.

    Args:
        checkpoint: changed in place.
        model: that is to load it, as it was made.
        name: of the checkpoint, in messages.

    Raises:
        CheckpointError: a later version or a model of another class wrote it, or weights are not finite.
    """
    check_model(checkpoint, type(model), name)
    migrate(checkpoint, type(model), name)
    check_finite(checkpoint.get("state_dict", {}), model, name)


def read_checkpoint(path: Path, map_location: str = "cpu", weights_only: bool | None = True) -> Any:
    """What `torch.load` reads, with `map_location` "meta" without the tensors; raises CheckpointError where it cannot."""
    try:
        return torch.load(path, map_location=map_location, weights_only=weights_only)
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # torch meets bytes of another format in many ways, with messages such as `101`
        if not zipfile.is_zipfile(path):
            raise CheckpointError(
                f"the file {path} is no checkpoint: torch.save did not write it; give another one"
            ) from None
        found = _CLASS.search(str(error))
        holds = f"it holds a {found[1]}" if found else " ".join(str(error).split()).partition(". ")[0]
        raise CheckpointError(
            f"the checkpoint {path} cannot be read without running code (weights_only): {holds}; give one that "
            "discrete-lightning or Lightning wrote, with plain values as hyper-parameters"
        ) from None
