"""Which tokens pass a block: a Bernoulli gate for each token, from that token alone, so that it is causal.

    l = w . x;   in training open ~ Bernoulli(sigmoid(l + offset));   in eval() open where l > threshold

After each step of the optimiser `offset` moves so that the share of open gates in training meets its target, and `threshold`
follows the (1 - share) quantile of l, so that it does so in eval(), too (expert threshold, https://arxiv.org/abs/2603.11535).
Both come from the sums over all ranks.
"""

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import gumbel_sigmoid
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32, float32_matmul
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.routing.counted_layer import CountedLayer
from discrete_lightning.routing.router import linear_float32


class Gated(NamedTuple):
    """The gates of tokens (...).

    Attributes:
        open: bool (...), whether each token passes.
        gates: float32 (...), with the gradient of the estimator: 1 where open, else 0, or in between.
        logits: float32 (...), log-odds of passing.
    """

    open: Tensor
    gates: Tensor
    logits: Tensor


class TokenGate(Recorded, CountedLayer):
    """Tokens (..., d) to gates (...), of which a given share is open, in training and in eval().

    Args:
        dim: d.
        share: of tokens that pass, in (0, 1).
        estimator: how the gradient passes through the draw. None: gates p / sg(p) of open tokens. In the mean that is the exact
            gradient for a loss that is linear in the gate, and no closed token has to be computed.

    Attributes:
        weight: (1, d), float32.
        offset: of the log-odds in training, 0-dim float32.
        threshold: of the logits in eval(), 0-dim float32.

    Raises:
        ValueError: if the share is out of range, or the estimator needs the loss's value.

    Example:
        >>> gate = TokenGate(dim=4, share=0.25)
        >>> gate(torch.randn(2, 5, 4)).open.shape
        torch.Size([2, 5])
    """

    weight: nn.Parameter
    offset: Tensor
    threshold: Tensor
    updated_state: ClassVar[str] = "share of open gates is"

    def __init__(self, dim: int, share: float = 0.5, estimator: Estimator | None = None) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"TokenGate: share is the share of tokens that pass, in (0, 1), got {share}")
        if estimator is not None and not estimator.pathwise:
            raise ValueError(
                f"{estimator} needs a loss for each token, and a gate changes the losses of others: take an estimator whose "
                "samples carry a gradient, such as ReinMax, or None"
            )
        self.dim, self.share, self.estimator = dim, share, estimator
        self.weight = nn.Parameter(torch.empty(1, dim, dtype=torch.float32))
        start = torch.tensor(math.log(share / (1 - share)), dtype=torch.float32, device=real_device())
        self.register_private("offset", start)
        self.register_private("threshold", torch.zeros_like(start))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Starts with small noise."""
        self.weight.normal_(0, 0.02)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, share={self.share}, estimator={self.estimator}"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Gated:
        """The gates of tokens (..., d); closed at padding.

        Args:
            x: (..., d).
            mask: bool, shape (...) or its first dimensions; False at padding, which does not count.
        """
        counted = None if mask is None else positions_mask(mask, x.shape[:-1])
        logits = self._logits(x if counted is None else zero_padding(x, counted))
        gated = self._drawn(logits) if self.training else self._decided(logits)
        if counted is not None:
            gated = Gated(gated.open & counted, torch.where(counted, gated.gates, 0.0), gated.logits)
        if self.is_learning:
            counts = self._counts(gated.open, logits.detach(), counted)
            gated = gated._replace(gates=self.counting(gated.gates, counts))
        return gated

    @float32_matmul
    def _logits(self, x: Tensor) -> Tensor:
        return linear_float32(x, self.weight)[..., 0]

    def _decided(self, logits: Tensor) -> Gated:
        is_open = logits.detach() > self.threshold
        return Gated(is_open, is_open.float(), logits - self.threshold)

    def _drawn(self, logits: Tensor) -> Gated:
        odds = logits + self.offset
        generator = rank_generator(logits.device)
        if self.estimator is not None:
            gates = float32(self.estimator.bernoulli(odds, generator=generator))
            return Gated(gates.detach() > 0.5, gates, odds)
        drawn = gumbel_sigmoid(odds.detach(), hard=True, generator=generator)
        log_p = torch.nn.functional.logsigmoid(odds)
        return Gated(drawn > 0.5, drawn * (1 + (log_p - log_p.detach())), odds)

    def _counts(self, is_open: Tensor, logits: Tensor, counted: Tensor | None) -> Tensor:
        if counted is None:
            counted = torch.ones_like(is_open)
        kept = torch.where(counted, logits, 0.0)
        above = (logits > self.threshold) & counted
        return torch.stack([each.sum().float() for each in (counted, is_open, above, kept, kept.square())])

    def _number_of_counts(self) -> int:
        return 5

    def _apply_counts(self, counts: Tensor) -> None:
        tokens = counts[0].clamp_min(1)
        drawn, above, mean, square = counts[1:] / tokens
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        valid = counts[0] > 0
        self.offset += torch.where(valid, self.share - drawn, 0.0)
        self.threshold += torch.where(valid, deviation * (above - self.share), 0.0)
