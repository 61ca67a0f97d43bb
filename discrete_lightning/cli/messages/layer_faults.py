"""What to say where data do not fit a layer: torch's error names shapes, and neither the layer nor the batch."""

import traceback

import torch
from lightning.pytorch import LightningModule
from torch import nn

from discrete_lightning.cli.errors import one_line


def layer_fault(error: Exception, model: LightningModule) -> str | None:
    """The message for an error of torch inside a layer of `model`; None for any other error.

    Args:
        error: raised while a batch went through the model.
        model: that it went through.
    """
    if not isinstance(error, (RuntimeError, ValueError, IndexError, TypeError)):
        return None
    names = {module: name for name, module in model.named_modules() if name}
    batch, layer, given = "", None, ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        values = frame.f_locals
        if frame.f_code.co_name.endswith("_step") and "batch" in values and not batch:
            batch = _shapes(values["batch"])
        if frame.f_code.co_name == "forward" and values.get("self") in names:
            layer = values["self"]
            tensors = [value for name, value in values.items() if name != "self" and isinstance(value, torch.Tensor)]
            given = _shapes(tensors[:1])
    if layer is None:
        return None
    name = f"{type(model).__name__}.{names[layer]}"
    of = f"; the batch is {batch}" if batch else ""
    return (
        f"the data do not fit the model: the layer {name}, {_described(layer)}, got {given or 'no tensor'}{of} "
        f"({one_line(error).rstrip('.')}); change the sizes in the config's model, or the data"
    )


def _described(layer: nn.Module) -> str:
    return one_line(layer) if not list(layer.children()) else type(layer).__name__


def _shapes(batch: object) -> str:
    """Types and shapes of the tensors of a batch."""
    if isinstance(batch, torch.Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {tuple(batch.shape)}"
    if isinstance(batch, dict):
        return ", ".join(f"{key}: {_shapes(value)}" for key, value in batch.items())
    if isinstance(batch, (list, tuple)):
        return " and ".join(_shapes(value) for value in batch)
    return type(batch).__name__
