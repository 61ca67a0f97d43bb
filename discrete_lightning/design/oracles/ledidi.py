"""An oracle as ledidi takes it: a model of several outputs, the desired outputs, and a loss between them.

    score(x) = -output_loss(model(x)[:, target], y_bar),    one sequence at a time

With Edit(sequence, edit_weight=l) and Maximize() the total is ledidi's total loss of one sequence, output_loss + l * edits
(Schreiber et al. 2025, https://doi.org/10.1101/2025.04.22.650035, ledidi 2.2.0).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.oracles.function import Oracle, name_of
from discrete_lightning.design.oracles.loss_oracle import LossOracle, Values


class LedidiOracle(LossOracle):
    """The model, `y_bar`, `target` and `output_loss` of a call of ledidi, unchanged, as one oracle. Needs no ledidi.

    ledidi's `l` is `edit_weight` of Edit, and its `input_mask` is the complement of `editable`.

    Args:
        model: a module or a function of one-hot sequences (batch, letters, length) to outputs (batch, outputs, ...), such as a
            `ledidi.DesignWrapper` of several models.
        y_bar: the desired outputs: a number, (outputs,) or (1, outputs, ...). None: `output_loss` does not read it.
        target: the output that counts, from 0 on; None: all.
        output_loss: a function of (y_hat, y_bar) to one number, lower is better, as in ledidi: called for one sequence at a
            time, (1, outputs, ...). None: the mean squared error.

    Raises:
        ValueError: there is neither a `y_bar` nor an `output_loss`, `target` is negative; or (when called) there is no such
            output, `y_bar` does not have its shape, or the loss is not one number.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 3))
        >>> oracle = LedidiOracle(model, y_bar=[[2.0]], target=1)
        >>> x = torch.nn.functional.one_hot(torch.arange(10) % 4, 4).T[None].float()
        >>> bool(torch.allclose(oracle(x), -(model(x)[:, 1] - 2.0) ** 2))
        True
    """

    def __init__(
        self,
        model: Oracle,
        y_bar: Values | None = None,
        target: int | None = None,
        output_loss: Callable[[Tensor, Tensor], Any] | None = None,
    ) -> None:
        super().__init__(model, y_bar)
        if y_bar is None and output_loss is None:
            raise ValueError("LedidiOracle needs y_bar, the desired outputs, or an output_loss that needs none")
        if target is not None and target < 0:
            raise ValueError(f"LedidiOracle: target is the number of an output, from 0 on, got {target}")
        self.target, self.output_loss = target, output_loss

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,) of sequences (batch, letters, length)."""
        outputs = self._check_outputs(self.model(x), len(x))
        if self.target is not None:
            if self.target >= outputs.shape[1]:
                raise ValueError(
                    f"LedidiOracle: there is no output {self.target}, counted from 0: {name_of(self.model)} returned "
                    f"{outputs.shape[1]} outputs"
                )
            outputs = outputs[:, self.target : self.target + 1]
        desired = outputs if self.desired is None else self._desired_for(outputs)
        if self.output_loss is None:
            return -(outputs - desired).square().flatten(1).mean(1)
        # ledidi averages the loss over its batch; here each sequence has a loss of its own
        pairs = zip(outputs.split(1), desired.split(1), strict=True)
        return -torch.stack([self._one_number(self.output_loss(*pair)) for pair in pairs])

    def _one_number(self, loss: Any) -> Tensor:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ValueError(
                "LedidiOracle: output_loss must return one number for one sequence, as a tensor; take reduction='mean'"
            )
        return loss.reshape(())
