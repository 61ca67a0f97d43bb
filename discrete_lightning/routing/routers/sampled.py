"""Sampled experts, with a gradient by any estimator: no gate is needed for the router to learn.

    S ~ Gumbel top-k of the logits,   y = 1/k sum_{i in S} f_i(x);   the estimator needs g_i = dL/dy . f_i(x)

A dense estimator (ReinMax, straight-through ...) asks for g_i of all experts. Where its samples are 0 and 1, the gradient to
the weights of experts that were not chosen is 0: they run without a graph. `Paired` asks for g_i of one more for each chosen.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator, Paired, ReinMax
from discrete_lightning.functional import Pair, draw_pair, pair_slope, softmax
from discrete_lightning.layers.relaxed_subset import RelaxedSubset
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router, no_loss


class SampledRouter(Router):
    """Draws k experts in training; in eval() the k largest logits. Each gate is 1/k.

    Args:
        dim: d of the tokens.
        count: N.
        k: experts of a token.
        estimator: how the gradient passes through the choice. `Paired()` runs two experts for each that is drawn, the second
            without a graph; the others that draw run all, those not drawn without a graph; mixtures (`GumbelSoftmax`) run all.
            `LeaveOneOut` needs the loss: see `MixtureOfExperts.expectation`.
        temperature: a Temperature, or a number for a new one.
        balance: weight of the loss for an even load.
        z: weight of the z-loss.

    Raises:
        ValueError: if the estimator is for binary variables.

    Example:
        >>> routed = SampledRouter(dim=4, count=8, k=1, estimator=Paired())(torch.randn(3, 4))
        >>> routed.gates.flatten().tolist(), routed.rivals.shape
        ([1.0, 1.0, 1.0], torch.Size([3, 1]))
    """

    def __init__(
        self,
        dim: int,
        count: int,
        k: int = 1,
        *,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        balance: float = 1e-2,
        z: float = 0.0,
    ) -> None:
        super().__init__(dim, count, k, balance=balance, z=z)
        self.choice = RelaxedSubset(k, ReinMax() if estimator is None else estimator, temperature)

    @property
    def estimator(self) -> Estimator:
        """How the gradient passes through the choice."""
        return self.choice.estimator

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, estimator={self.estimator}"

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        sampling, estimator = self.choice.training, self.estimator
        p = softmax(logits)
        in_pairs = isinstance(estimator, Paired) and self.count > 1 and not self.choice.is_watched
        if sampling and in_pairs:
            return self._in_pairs(logits, p)
        sample = self.choice(logits)
        if sampling and not estimator.hard:
            everyone = torch.arange(self.count, device=logits.device).expand(logits.shape)
            return Routed(everyone, sample / self.k, logits, p, no_loss(logits))
        order = sample.detach().argsort(dim=-1, descending=True, stable=True)
        weights = sample.gather(-1, order) / self.k
        routed = Routed(order[..., : self.k], weights[..., : self.k], logits, p, no_loss(logits))
        if not (sampling and sample.requires_grad) or self.k == self.count:
            return routed
        return routed._replace(rivals=order[..., self.k :], rival_gates=weights[..., self.k :])

    def _in_pairs(self, logits: Tensor, p: Tensor) -> Routed:
        """Draws one expert after the other from those that are left, each with a rival."""
        generator: Any = rank_generator(logits.device)
        left = logits
        pairs: list[Pair] = []
        slopes: list[Tensor] = []
        for _ in range(self.k):
            pairs.append(draw_pair(left, generator=generator))
            slopes.append(pair_slope(left, pairs[-1]))
            left = left.scatter(-1, pairs[-1].drawn.unsqueeze(-1), -torch.inf)
        slope = torch.stack(slopes, -1) / self.k
        indices, rivals = (torch.stack([getattr(each, name) for each in pairs], -1) for name in ("drawn", "rival"))
        gates = slope + 1 / self.k
        return Routed(indices, gates, logits, p, no_loss(logits), rivals=rivals, rival_gates=-slope)
