"""A layer that chooses k of K without replacement: features, experts of a token, entries of a sparse attention."""

import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import conditional_bernoulli, subset_k_hot, top_k_hot
from discrete_lightning.layers.relaxed import Evaluation, Relaxed
from discrete_lightning.layers.temperature import Temperature

_DRAWS = {"plackett_luce": subset_k_hot, "conditional_bernoulli": conditional_bernoulli}


class RelaxedSubset(Relaxed):
    """Logits (..., K) to k-hot-like samples (..., K) of k categories chosen without replacement.

    Training: the estimator's `subset` at the current temperature: k ones with StraightThroughGumbel, a relaxed sample with
    GumbelSoftmax. Evaluation: the k largest logits, or exact draws from the distribution that the estimator's `subsets` names.
    The k largest are the most likely subset of either.

    Args:
        k: number of categories chosen, >= 1.
        estimator: how the gradient passes through the choice.
        temperature: a Temperature, or a number for a new one.
        evaluation: what `eval()` gives: the k largest logits ("mode") or an exact draw ("draw").
        samples_only: whether the model only calls the layer and never uses its `expectation`: then estimators that need the
            loss's value are refused.

    Raises:
        ValueError: if k is less than 1, or the estimator cannot be used in this layer.

    Example:
        >>> RelaxedSubset(k=2).eval()(torch.tensor([0.1, 2.0, -1.0, 1.0]))
        tensor([0., 1., 0., 1.])
    """

    k: int

    def __init__(
        self,
        k: int,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        evaluation: Evaluation = "mode",
        samples_only: bool = False,
    ) -> None:
        if k < 1:
            raise ValueError(f"RelaxedSubset: k must be at least 1, got {k}")
        self.k = k  # which `set_estimator` looks at
        super().__init__(estimator, temperature, evaluation, samples_only)

    def extra_repr(self) -> str:
        return f"k={self.k}, {super().extra_repr()}"

    def discrete(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.evaluation == "draw":
            draw = _DRAWS[self.estimator.subsets]
            return draw(self.scores(logits), self.k, generator=generator).to(logits.dtype)
        return top_k_hot(logits, logits.detach(), self.k)
