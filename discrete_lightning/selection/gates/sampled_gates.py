"""Gates that are drawn by an estimator: what Gate and SelectK share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._keyed import of_batch
from discrete_lightning.layers.relaxed import Relaxed
from discrete_lightning.selection.gates.gate_layer import GateLayer


class SampledGates(GateLayer):
    """Gates of logits (D,) and a `Relaxed` layer that draws them. A subclass makes both, and says what an exact draw is.

    Attributes:
        logits: a, float32 (D,).
        sampler: `use_estimator`, TemperatureAnnealing and ChoiceMonitor find it.
    """

    logits: nn.Parameter
    sampler: Relaxed

    def exact_draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Gates of 0 and 1 without a gradient, float32 of the shape of `logits` (..., D)."""
        raise NotImplementedError

    def sample(self, rows: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        return self.sampler(self._expanded(rows), generator)

    @torch.no_grad()
    def draw(self, x: Tensor) -> Tensor:
        if self.sampler.estimator.pathwise or not self.training or self.held:
            return self(x)
        self._check(x)
        rows = self._rows(x)
        z = self.exact_draw(self._expanded(rows), rank_generator(self.logits.device, shared=not rows))
        return x * self._placed(z, x).to(x.dtype)

    def expectation(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if not self.training or self.held:
            return function(self(x))
        self._check(x)

        def loss(z: Tensor) -> Tensor:
            losses = function(x * self._placed(z, x).to(x.dtype))
            if self.per == "row":
                return losses
            return losses.sum(-1, keepdim=True) / max(1, x.shape[0])  # one draw has the losses of all rows

        logits = self._expanded((x.shape[0] if self.per == "row" else 1,))
        generator = None if self.per == "row" else of_batch(None)
        return self.sampler.expectation(loss, logits, generator).expand(x.shape[0])

    def _expanded(self, rows: tuple[int, ...]) -> Tensor:
        return self.logits.float().expand(*rows, self.size)
