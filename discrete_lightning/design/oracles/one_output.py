"""One output of a model that has several."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from discrete_lightning.design.oracles.function import Oracle, as_module, name_of
from discrete_lightning.layers.recorded import Recorded

Output = int | str | Sequence[int | str]


class OneOutput(Recorded, nn.Module):
    """An oracle that returns one output of a model: a column, an item of a tuple or a dict, an attribute.

    Args:
        oracle: a module or a function of one-hot sequences (batch, letters, length).
        index: the number of the column of a tensor (batch, outputs, ...) or of the item of a tuple, from 0 on; or the key of a
            dict, or the name of a field. A list picks from what was picked: ["counts", 3].

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3))
        >>> OneOutput(model, 2)(torch.zeros(5, 4, 2)).shape
        torch.Size([5])
        >>> OneOutput(lambda x: {"profile": x, "counts": x.sum((1, 2))}, "counts")(torch.ones(1, 4, 2))
        tensor([8.])
    """

    def __init__(self, oracle: Oracle, index: Output) -> None:
        super().__init__()
        self.oracle, self.index = as_module(oracle), index

    def forward(self, x: Tensor) -> Any:
        """The output, of scores (batch,) or (batch, 1) if it is to be an oracle's.

        Raises:
            ValueError: the model does not have this output.
        """
        return self.choose(self.oracle(x))

    def choose(self, outputs: Any) -> Any:
        """The output of what the model returned."""
        for index in [self.index] if isinstance(self.index, int | str) else self.index:
            outputs = self._item(outputs, index)
        return outputs

    def _item(self, outputs: Any, index: int | str) -> Any:
        if isinstance(outputs, Mapping):
            if index in outputs:
                return outputs[index]
        elif isinstance(index, str):
            if hasattr(outputs, index) and not isinstance(outputs, Tensor):
                return getattr(outputs, index)
        elif isinstance(outputs, tuple | list):
            if -len(outputs) <= index < len(outputs):
                return outputs[index]
        elif isinstance(outputs, Tensor) and outputs.ndim > 1 and -outputs.shape[1] <= index < outputs.shape[1]:
            return outputs[:, index]
        raise ValueError(f"there is no output {index!r} in what {name_of(self.oracle)} returned, {described(outputs)}")


def described(outputs: Any) -> str:
    """What a model returned, in words.

    Example:
        >>> import torch
        >>> described((torch.zeros(2, 3), [1.0])), described({"counts": torch.zeros(2)})
        ('a tuple of shape (2, 3), a list of 1', "a dict of 'counts': shape (2,)")
    """
    if isinstance(outputs, Tensor):
        return f"shape {tuple(outputs.shape)}"
    if isinstance(outputs, Mapping):
        items = ", ".join(f"{key!r}: {described(value)}" for key, value in list(outputs.items())[:8])
        return f"a {type(outputs).__name__} of {items}"
    if isinstance(outputs, tuple) or (isinstance(outputs, list) and any(isinstance(each, Tensor) for each in outputs)):
        return f"a {type(outputs).__name__} of {', '.join(map(described, outputs[:8]))}"
    return f"a list of {len(outputs)}" if isinstance(outputs, list) else type(outputs).__name__
