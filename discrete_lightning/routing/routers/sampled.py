"""Sampled experts, with a gradient by any estimator: no gate is needed for the router to learn.

    S ~ Gumbel top-k of the logits,   y = 1/k sum_{i in S} f_i(x);   the estimator needs g_i = dL/dy . f_i(x)

A dense estimator (ReinMax, straight-through ...) asks for g_i of all experts. Where its samples are 0 and 1, the gradient to
the weights of experts that were not chosen is 0: they run without a graph. `Paired` asks for g_i of one more for each chosen.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator, Paired, ReinMax
from discrete_lightning.functional import Pair, draw_pair, pair_slope, softmax
from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.layers.relaxed_subset import RelaxedSubset
from discrete_lightning.layers.temperature import LossWeight, Temperature
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router, check_gates_vary, no_loss

Gates = Literal["uniform", "softmax"]
_LEAST_NOISE = 1e-3  # less is no noise, and would overflow


class SampledRouter(Router):
    """Draws k experts from softmax(logits / noise) in training; in eval() the k largest logits.

    Args:
        dim: d of the tokens.
        count: N.
        k: experts of a token.
        estimator: how the gradient passes through the choice. `Paired()` runs two experts for each that is drawn, the second
            without a graph; the others that draw run all, those not drawn without a graph; mixtures (`GumbelSoftmax`) run all.
            `LeaveOneOut` needs the loss: see `MixtureOfExperts.expectation`.
        temperature: a Temperature, or a number for a new one.
        noise: > 0, of the draw; `WeightAnnealing(schedule, only="*noise")` moves it, for example to 0.1 at the end, where
            training routes as eval() does.
        gates: "uniform", each 1/k; or "softmax", the softmax of the chosen logits, as a top-k has it: then the router gets its
            gradient from both, what an expert counts for and whether it is chosen.
        balance: weight of the loss for an even load.
        z: weight of the z-loss.

    Raises:
        ValueError: if an argument is out of range, the estimator is for binary variables, or "softmax" gates cannot be: k = 1,
            an estimator that mixes, or one that needs the loss.

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
        noise: float = 1.0,
        gates: Gates = "uniform",
        balance: float = 1e-2,
        z: float = 0.0,
    ) -> None:
        super().__init__(dim, count, k, balance=balance, z=z)
        self.choice = RelaxedSubset(k, ReinMax() if estimator is None else estimator, temperature)
        self.choice.require_softmax(type(self).__name__)
        check_positive(noise=noise)
        if gates not in get_args(Gates):
            raise ValueError(f"gates are 'uniform' or 'softmax', got {gates!r}")
        if gates == "softmax":
            check_gates_vary(self, True)
            if not (self.estimator.hard and self.estimator.pathwise):
                raise ValueError(
                    f"gates='softmax' needs an estimator that draws, and {self.estimator} does not: 'uniform'"
                )
        self.noise, self.gates = LossWeight(noise), gates

    @property
    def estimator(self) -> Estimator:
        """How the gradient passes through the choice."""
        return self.choice.estimator

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, estimator={self.estimator}, gates={self.gates!r}"

    def drawn_from(self, logits: Tensor) -> Tensor:
        """Logits (..., N) of the distribution that experts are drawn from in training."""
        return logits / self.noise().clamp_min(_LEAST_NOISE)

    def route(self, logits: Tensor, mask: Tensor | None) -> Routed:
        sampling, estimator = self.choice.training, self.estimator
        p = softmax(logits)
        drawn_from = self.drawn_from(logits) if sampling else logits
        in_pairs = isinstance(estimator, Paired) and self.count > 1 and not self.choice.is_watched
        if sampling and in_pairs:
            return self._in_pairs(logits, drawn_from, p)
        sample = self.choice(drawn_from)
        if sampling and not estimator.hard:
            everyone = torch.arange(self.count, device=logits.device).expand(logits.shape)
            return Routed(everyone, sample / self.k, logits, p, no_loss(logits))
        order = sample.detach().argsort(dim=-1, descending=True, stable=True)
        chosen, others = order[..., : self.k], order[..., self.k :]
        gates = self._gates(logits, chosen)
        routed = Routed(chosen, gates, logits, p, no_loss(logits))
        if not (sampling and sample.requires_grad):
            return routed
        weights = sample.gather(-1, order)
        weights = weights - weights.detach()  # zeros, with the gradient of the choice
        of_chosen, of_others = weights[..., : self.k] * gates.detach(), weights[..., self.k :] / self.k
        if self.gates == "softmax":
            # an expert that comes in gets the mean gate; what all experts have in common must not count
            total = of_chosen.sum(-1, keepdim=True) + of_others.sum(-1, keepdim=True)
            of_chosen = of_chosen - gates.detach() * total
        routed = routed._replace(gates=gates + of_chosen)
        if self.k == self.count:
            return routed
        return routed._replace(rivals=others, rival_gates=of_others)

    def _gates(self, logits: Tensor, chosen: Tensor) -> Tensor:
        """What each chosen expert counts for, (..., k)."""
        if self.gates == "softmax":
            return torch.softmax(logits.gather(-1, chosen), -1)
        return torch.full(chosen.shape, 1 / self.k, dtype=logits.dtype, device=logits.device)

    def _in_pairs(self, logits: Tensor, drawn_from: Tensor, p: Tensor) -> Routed:
        """Draws one expert after the other from those that are left, each with a rival, which would get its gate."""
        generator: Any = rank_generator(logits.device)
        left = drawn_from
        pairs: list[Pair] = []
        slopes: list[Tensor] = []
        for _ in range(self.k):
            pairs.append(draw_pair(left, generator=generator))
            slopes.append(pair_slope(left, pairs[-1]))
            left = left.scatter(-1, pairs[-1].drawn.unsqueeze(-1), -torch.inf)
        indices, rivals = (torch.stack([getattr(each, name) for each in pairs], -1) for name in ("drawn", "rival"))
        gates = self._gates(logits, indices)
        slope = torch.stack(slopes, -1) * gates.detach()
        return Routed(indices, gates + slope, logits, p, no_loss(logits), rivals=rivals, rival_gates=-slope)
