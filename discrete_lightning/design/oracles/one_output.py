"""One of several outputs of a model."""

from torch import Tensor, nn


class OneOutput(nn.Module):
    """An oracle made of output `index` of a model whose output is (batch, outputs).

    Args:
        oracle: the model.
        index: which output.

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
            ValueError: the model has no such output.
        """
        return self.choose(self.oracle(x))

    def choose(self, outputs: Tensor) -> Tensor:
        """The one output (batch,) of what the model returned, (batch, outputs)."""
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
