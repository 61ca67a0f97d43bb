"""One output of a model that has several."""

from torch import Tensor, nn

from discrete_lightning.layers.recorded import Recorded


class OneOutput(Recorded, nn.Module):
    """An oracle that returns output `index` of a model with outputs (batch, outputs).

    Args:
        oracle: the model.
        index: the number of the output, from 0 on.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3))
        >>> OneOutput(model, 2)(torch.zeros(5, 4, 2)).shape
        torch.Size([5])
    """

    def __init__(self, oracle: nn.Module, index: int) -> None:
        super().__init__()
        self.oracle, self.index = oracle, index

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,).

        Raises:
            ValueError: the model does not have this output.
        """
        return self.choose(self.oracle(x))

    def choose(self, outputs: Tensor) -> Tensor:
        """The output (batch,) of all outputs of the model, (batch, outputs)."""
        if (
            not isinstance(outputs, Tensor)
            or outputs.ndim != 2
            or not -outputs.shape[1] <= self.index < outputs.shape[1]
        ):
            found = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                f"OneOutput: there is no output {self.index} in what {type(self.oracle).__name__} returned, {found}"
            )
        return outputs[:, self.index]
