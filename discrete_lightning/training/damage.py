"""What is wrong with a checkpoint: said in one line, before its content reaches model, optimisers and loops."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from discrete_lightning.storage.digest import DamagedError, check_digest, check_records

_SHOWN = 3
_RESUMING: dict[str, type] = {"optimizer_states": list, "lr_schedulers": list, "loops": dict}
_COUNTED: dict[str, type] = {"epoch": int, "global_step": int, "callbacks": dict}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The message names the file, what is wrong, and the next step."""


def check_file(path: Path) -> None:
    """Compares the file with the SHA-256 in it, and where it has none its records with their checksums: `torch.load` does not.

    Raises:
        CheckpointError: it is a folder, empty, cut short, damaged, or no file that `torch.save` wrote.
    """
    if path.is_dir():
        raise CheckpointError(f"the checkpoint {path} is a folder: give a file in it, or the run's folder with -c")
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"the checkpoint {path} is empty: give another one")
        if not check_digest(path) and zipfile.is_zipfile(path):  # torch.load reads a format of its own beside zip
            check_records(path)
    except DamagedError as error:
        raise CheckpointError(f"the checkpoint {path} {error}; give another one") from None
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read: {error.strerror or error}") from None


def check_content(checkpoint: Any, path: Path) -> None:
    """Raises CheckpointError if `checkpoint`, as read from `path`, is none of Lightning."""
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"the file {path} is no checkpoint: it holds {_kind(checkpoint)}; give another one")
    missing = [key for key in ("state_dict", "pytorch-lightning_version") if key not in checkpoint]
    if not missing:
        kept = checkpoint["state_dict"]
        if not isinstance(kept, Mapping) or not all(isinstance(key, str) for key in kept):
            raise CheckpointError(
                f"the checkpoint {path} holds {_kind(kept)} where the weights should be: give another one"
            )
        return
    weights = checkpoint.get("state_dict", checkpoint)
    if isinstance(weights, Mapping) and weights and all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(
            f"the file {path} holds weights alone, not a checkpoint that Lightning wrote: load it in code, with "
            "model.load_state_dict(torch.load(path)), or give a checkpoint"
        )
    raise CheckpointError(f"the file {path} is no checkpoint of Lightning: it has no {missing[0]!r}; give another one")


def check_resumable(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raises CheckpointError if training cannot go on from it as Lightning would: silently from the start, or not at all."""
    missing = [key for key in _RESUMING if key not in checkpoint]
    if missing:
        raise CheckpointError(
            f"the checkpoint {path} has no {', '.join(missing)}, so training cannot go on from it (was it saved with "
            "save_weights_only?): give a whole one; test and predict can use it"
        )
    for key, kind in (_RESUMING | _COUNTED).items():
        if not isinstance(checkpoint.get(key, kind()), kind):
            raise CheckpointError(
                f"the checkpoint {path} holds {_kind(checkpoint[key])} as {key!r}, so training cannot go on from it: give "
                "another one; test and predict can use it"
            )
    if not isinstance(checkpoint["loops"].get("fit_loop"), Mapping):
        raise CheckpointError(
            f"the checkpoint {path} does not say how far the training was (loops), so it cannot go on from it: give another "
            "one; test and predict can use it"
        )


def check_finite(weights: Mapping[str, Any], model: LightningModule, name: str) -> None:
    """Raises CheckpointError, with names, if tensors are not finite that are so in the model before they are loaded.

    Infinite values in buffers, such as the mask of an attention, are let through.
    """
    parameters = {key for key, _ in model.named_parameters()}
    found = [key for key, value in weights.items() if isinstance(value, Tensor) and _is_bad(value, key in parameters)]
    if found:
        own = {key: value for key, value in model.state_dict().items() if key in found}
        found = [key for key in found if not (key in own and _is_bad(own[key], key in parameters))]
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise CheckpointError(
            f"{name} has values that are not finite in {', '.join(found[:_SHOWN])}{more}: the training had "
            "diverged; give an earlier one, or train again with a lower learning rate"
        )


def _is_bad(value: Tensor, is_parameter: bool) -> bool:
    if value.layout != torch.strided or value.is_quantized or not (value.is_floating_point() or value.is_complex()):
        return False
    value = value.float() if value.element_size() == 1 else value  # float8 has neither test
    return bool((~value.isfinite()).any() if is_parameter else value.isnan().any())


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return "one tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
