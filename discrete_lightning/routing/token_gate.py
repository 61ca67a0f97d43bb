"""Which tokens pass a block: a gate for each token, from that token alone, so that it is causal.

    "threshold"   open where l > threshold, gate sigmoid(l - threshold), in training and in eval()
    an estimator  open ~ Bernoulli(sigmoid(l + offset)) in training;   open where l > threshold in eval();   gates 0 or 1

l = w . (x - mean of x), so that a step of w does not move all logits at once. After each step of the optimiser `threshold`
follows the (1 - share) quantile of l (expert threshold, https://arxiv.org/abs/2603.11535), and `offset` moves so that the share
of open gates meets its target in draws, too. Both come from the sums over all ranks:

    threshold = level * deviation of l, in a running mean;   level += (open - share) / (2 phi(level))

phi being the normal density: half of Newton's step for l that is normal. The level only has to learn the shape of l.
"""

import math
from statistics import NormalDist
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import gumbel_sigmoid
from discrete_lightning.functional._checks import check_elements
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.functional._precision import float32, float32_matmul
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.routing.counted_layer import CountedLayer
from discrete_lightning.routing.router import linear_float32

_RATE = 0.5  # of running means: slower ones lag behind logits that a high learning rate moves
_LONGEST = 0.5  # deviations a step
_MOST = 4.0  # deviations: where the normal density is too small to step by
RULES = ("threshold", "ratio")


class Gated(NamedTuple):
    """The gates of tokens (...).

    Attributes:
        open: bool (...), whether each token passes.
        gates: float32 (...), what counts of the block's output, with a gradient: 0 where closed; where open 1, or in between.
            Of an estimator that mixes they lie in between everywhere.
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
        estimator: "threshold": no draw; the gate's value has the gradient, as in a mixture of depths (Raposo et al. 2024,
            https://arxiv.org/abs/2404.02258). An estimator: how the gradient passes through a draw. "ratio": a draw with gates
            p / sg(p) of open tokens: in the mean the exact gradient for a loss that is linear in the gate, and no closed token
            has to be computed.

    Attributes:
        weight: (1, d), float32.
        offset: of the log-odds in training, 0-dim float32.
        threshold: of the logits, 0-dim float32.
        center: running mean of the tokens, float32 (d,).
        level: the threshold in deviations from the mean, 0-dim float32.
        variance: running mean of the variance of l, 0-dim float32.

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
    center: Tensor
    level: Tensor
    variance: Tensor
    updated_state: ClassVar[str] = "share of open gates is"

    def __init__(self, dim: int, share: float = 0.5, estimator: Estimator | str = "threshold") -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"TokenGate: share is the share of tokens that pass, in (0, 1), got {share}")
        if not isinstance(estimator, Estimator) and estimator not in RULES:
            raise ValueError(f"estimator must be an Estimator, or one of {', '.join(RULES)}; got {estimator!r}")
        if isinstance(estimator, Estimator) and not estimator.pathwise:
            raise ValueError(
                f"{estimator} needs a loss for each token, and a gate changes the losses of others: take an estimator whose "
                "samples carry a gradient, such as ReinMax, or 'threshold', or 'ratio'"
            )
        self.dim, self.share, self.estimator = dim, share, estimator
        self.weight = nn.Parameter(torch.empty(1, dim, dtype=torch.float32))
        start = torch.tensor(math.log(share / (1 - share)), dtype=torch.float32, device=real_device())
        self.register_private("offset", start)
        self.register_private("threshold", torch.zeros_like(start))
        self.register_private("level", torch.full_like(start, NormalDist().inv_cdf(1 - share)))
        self.register_private("center", torch.zeros(dim, dtype=torch.float32, device=real_device()))
        self.register_private("variance", torch.zeros_like(start))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Starts with small noise."""
        self.weight.normal_(0, 0.02)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, share={self.share}, estimator={self.estimator!r}"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Gated:
        """The gates of tokens (..., d); closed at padding.

        Args:
            x: (..., d).
            mask: bool, shape (...) or its first dimensions; False at padding, which does not count.
        """
        counted = None if mask is None else positions_mask(mask, x.shape[:-1])
        tokens = x if counted is None else zero_padding(x, counted)
        logits = self._logits(tokens)
        check_elements(logits)
        drawn = self.training and self.estimator != "threshold"
        gated = self._drawn(logits) if drawn else self._decided(logits)
        if counted is not None:
            gated = Gated(gated.open & counted, torch.where(counted, gated.gates, 0.0), gated.logits)
        if self.is_learning:
            counts = self._counts(gated.open, logits.detach(), counted, tokens.detach())
            gated = gated._replace(gates=self.counting(gated.gates, counts))
        return gated

    @float32_matmul
    def _logits(self, x: Tensor) -> Tensor:
        return linear_float32(float32(x) - self.center, self.weight)[..., 0]

    def _decided(self, logits: Tensor) -> Gated:
        is_open, odds = logits.detach() > self.threshold, logits - self.threshold
        gates = torch.where(is_open, torch.sigmoid(odds), 0.0) if self.estimator == "threshold" else is_open.float()
        return Gated(is_open, gates, odds)

    def _drawn(self, logits: Tensor) -> Gated:
        odds = logits + self.offset
        generator = rank_generator(logits.device)
        if isinstance(self.estimator, Estimator):
            gates = float32(self.estimator.bernoulli(odds, generator=generator))
            return Gated(gates.detach() > 0.5, gates, odds)
        drawn = gumbel_sigmoid(odds.detach(), hard=True, generator=generator)
        log_p = torch.nn.functional.logsigmoid(odds)
        return Gated(drawn > 0.5, drawn * (1 + (log_p - log_p.detach())), odds)

    def _counts(self, is_open: Tensor, logits: Tensor, counted: Tensor | None, tokens: Tensor) -> Tensor:
        if counted is None:
            counted = torch.ones_like(is_open)
        kept = torch.where(counted, logits, 0.0)
        above = (logits > self.threshold) & counted
        sums = torch.stack([each.sum().float() for each in (counted, is_open, above, kept, kept.square())])
        return torch.cat([sums, float32(tokens).reshape(-1, self.dim).sum(0)])  # zeros at padding

    def _number_of_counts(self) -> int:
        return 5 + self.dim

    def _apply_counts(self, counts: Tensor) -> None:
        tokens = counts[0].clamp_min(1)
        drawn, above, mean, square = counts[1:5] / tokens
        valid = counts[0] > 0
        self.offset += torch.where(valid, self.share - drawn, 0.0)
        rate = torch.where(valid, torch.where(self.updates == 0, 1.0, _RATE), 0.0)
        self.center += rate * (counts[5:] / tokens - self.center)
        self.variance += rate * ((square - mean.square()).clamp_min(0) - self.variance)
        density = (-0.5 * self.level.square()).exp() / math.sqrt(2 * math.pi)
        step = (above - self.share) / (2 * density)
        # the first pass had no center yet
        moves = valid & (self.updates > 0)
        self.level += torch.where(moves, step.clamp(-_LONGEST, _LONGEST), 0.0)
        self.level.clamp_(-_MOST, _MOST)
        self.threshold.copy_(self.level * self.variance.sqrt())
