"""An oracle as the design functions of tangermeme take it: a model, `y`, `loss`, `output_mask` and `args`.

    score(x) = -mean(loss(y[:, output_mask], model(x, *args)[:, output_mask])),  or the mean output without y

This is the negative of what `greedy_substitution` and `beam_substitution` minimise (tangermeme 1.6.0,
https://github.com/jmschrei/tangermeme).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.oracles.function import Oracle
from discrete_lightning.design.oracles.loss_oracle import LossOracle, Values
from discrete_lightning.design.oracles.one_output import OneOutput, Output
from discrete_lightning.layers.constant_buffers import real_device


class TangermemeOracle(LossOracle):
    """The model, `y`, `loss`, `output_mask` and `args` of a design function of tangermeme, unchanged. Needs no tangermeme.

    Its `input_mask` is `editable` of Edit.

    Args:
        model: a module or a function of one-hot sequences (batch, letters, length), and of `args`, to outputs
            (batch, outputs, ...).
        y: the desired outputs, before `output_mask`: a number, (outputs,) or (1, outputs, ...). None: high outputs.
        loss: a function of (y, y_hat), in this order, to losses (batch, ...), as torch's with reduction='none'; lower is
            better. None: the squared error.
        output_mask: bool (outputs,), which outputs count; None: all.
        args: further arguments of the model, each with a first dimension of 1: every sequence has the same.
        output: which output counts, if the model returns a tuple or a dict (see OneOutput). None: it returns one tensor.

    Raises:
        ValueError: an argument of `args` is not of first dimension 1, there is a `loss` without `y`; or (when called) `y` or
            `output_mask` does not have the outputs' shape, or the loss is not one of each sequence.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 3))
        >>> x = torch.nn.functional.one_hot(torch.arange(10) % 4, 4).T[None].float()
        >>> bool(torch.allclose(TangermemeOracle(model)(x), model(x).mean(1)))
        True
        >>> oracle = TangermemeOracle(model, y=[2.0, 0.0, 9.0], output_mask=[True, True, False])
        >>> bool(torch.allclose(oracle(x), -(model(x)[:, :2] - torch.tensor([2.0, 0.0])).square().mean(1)))
        True
    """

    output_mask: Tensor | None

    def __init__(
        self,
        model: Oracle,
        y: Values | None = None,
        loss: Callable[[Tensor, Tensor], Any] | None = None,
        output_mask: Tensor | Sequence[bool] | None = None,
        args: Sequence[Tensor | Sequence[float]] = (),
        output: Output | None = None,
    ) -> None:
        super().__init__(model, y)
        if y is None and loss is not None:
            raise ValueError("TangermemeOracle: a loss compares the outputs with y, and there is no y")
        self.loss, self.output, self.arguments = loss, output, len(args)
        with real_device():
            mask = None if output_mask is None else torch.as_tensor(output_mask, dtype=torch.bool).clone()
            self.register_constant("output_mask", mask)
            for number, each in enumerate(args):
                value = torch.as_tensor(each).clone()
                if not value.ndim or len(value) != 1:
                    raise ValueError(
                        f"TangermemeOracle: args[{number}] is the same for every sequence and has a first dimension of 1, got "
                        f"shape {tuple(value.shape)}"
                    )
                self.register_constant(f"argument_{number}", value)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,) of sequences (batch, letters, length)."""
        # tangermeme gives all arguments in the dtype of the model
        given = [getattr(self, f"argument_{number}").to(x) for number in range(self.arguments)]
        found = self.model(x, *(each.expand(len(x), *each.shape[1:]) for each in given))
        if self.output is not None:
            found = OneOutput(self.model, self.output).choose(found)
        outputs = self._check_outputs(found, len(x))
        desired = None if self.desired is None else self._desired_for(outputs)
        if self.output_mask is not None:
            if self.output_mask.shape != outputs.shape[1:2]:
                raise ValueError(
                    f"TangermemeOracle: output_mask is of {len(self.output_mask)} outputs, and the model returned "
                    f"{outputs.shape[1]}"
                )
            outputs = outputs[:, self.output_mask]
            desired = None if desired is None else desired[:, self.output_mask]
        if desired is None:
            return outputs.flatten(1).mean(1)
        losses = (desired - outputs).square() if self.loss is None else self.loss(desired, outputs)
        if not losses.ndim or len(losses) != len(x):
            raise ValueError(
                f"TangermemeOracle: loss must return the loss of each sequence, ({len(x)}, ...), got shape "
                f"{tuple(losses.shape)}; take reduction='none'"
            )
        return -losses.reshape(len(x), -1).mean(1)
