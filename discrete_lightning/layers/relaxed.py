"""Layers that sample: an estimator and a temperature while training, discrete in eval()."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator, StraightThroughGumbel
from discrete_lightning.functional import argmax_one_hot, categorical_one_hot, gumbel_sigmoid
from discrete_lightning.functional._checks import check_elements
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.layers.temperature import Temperature

Evaluation = Literal["mode", "draw"]


class Sampling(nn.Module):
    """A layer that samples in training mode and is discrete in eval(); the context manager `relaxed` acts on all of them."""


class Relaxed(Recorded, Sampling):
    """Base class of RelaxedCategorical, RelaxedBernoulli and RelaxedSubset.

    `use_estimator` acts on all layers of this type in a module.

    Args:
        estimator: how the gradient passes through the choice.
        temperature: a Temperature, or a number for a new one.
        evaluation: what `eval()` gives: the most likely choice ("mode") or an exact draw ("draw").
        samples_only: whether the model only calls the layer and never uses its `expectation`: then estimators that need the
            loss's value are refused.

    Raises:
        ValueError: if the estimator cannot be used in this layer.
    """

    binary: bool = False
    k: int | None = None  # of a subset
    softmax_for: str | None = None  # what relies on draws from softmax(logits) or sigmoid(logits)

    def __init__(
        self,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        evaluation: Evaluation = "mode",
        samples_only: bool = False,
    ) -> None:
        super().__init__()
        if evaluation not in ("mode", "draw"):
            raise ValueError(f"evaluation must be 'mode' or 'draw', got {evaluation!r}")
        self.samples_only = samples_only
        self.set_estimator(StraightThroughGumbel() if estimator is None else estimator)
        self.temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)
        self.evaluation = evaluation

    def extra_repr(self) -> str:
        return f"estimator={self.estimator}, evaluation={self.evaluation!r}"

    @property
    def is_watched(self) -> bool:
        """Whether someone follows its calls, by hooks or a `forward` of theirs (GradientProbe): who owns it has to call it."""
        return bool(self._forward_hooks or self._forward_pre_hooks or "forward" in self.__dict__)

    def set_estimator(self, estimator: Estimator) -> None:
        """Changes the estimator.

        Raises:
            ValueError: if it cannot be used in this layer.
        """
        if not (self.binary or estimator.categorical):
            raise ValueError(
                f"{estimator} is for binary variables, and {type(self).__name__} chooses among categories; "
                "LeaveOneOut is the unbiased estimator for those"
            )
        if self.k is not None and self.k > 1 and not estimator.chooses_subsets:
            raise ValueError(
                f"{estimator} chooses one category, and {type(self).__name__} k={self.k}: take LeaveOneOut or IndeCateR"
            )
        if self.softmax_for is not None and not estimator.softmax:
            raise ValueError(
                f"{estimator} does not draw from softmax or sigmoid of the logits, and {self.softmax_for} relies on it; "
                "take IndeCateR, which sums in the same way"
            )
        if self.samples_only and not estimator.pathwise:
            raise ValueError(
                f"{estimator} needs the loss's value, and this layer only returns samples; take one of the estimators whose "
                "samples carry a gradient, such as ReinMax, or a model that uses `expectation`, such as CategoricalVAE"
            )
        self.estimator = estimator

    def require_softmax(self, user: str) -> None:
        """Has the layer refuse estimators that draw from something else than softmax or sigmoid of the logits, now and later.

        Args:
            user: what relies on it, for the message.

        Raises:
            ValueError: if its estimator does so.
        """
        self.softmax_for = user
        self.set_estimator(self.estimator)

    def scores(self, logits: Tensor) -> Tensor:
        """What the layer draws from, as unnormalised log-probabilities or log-odds; see `Estimator.scores`."""
        return self.estimator.scores(logits, binary=self.binary)

    def discrete(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The discrete sample of evaluation: the most likely choice, or an exact draw. No gradient."""
        raise NotImplementedError

    def forward(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A sample of the shape and dtype of `logits`.

        Noise comes from `generator`; by default from the default generator, mixed with the rank where there are several.
        """
        if generator is None and (self.training or self.evaluation == "draw"):
            generator = self._generator(logits.device)
        if not self.training:
            return self.discrete(logits, generator)
        if self.k is not None:
            return self.estimator.subset(logits, self.k, self.temperature(), generator)
        draw = self.estimator.bernoulli if self.binary else self.estimator
        return draw(logits, self.temperature(), generator)

    def expectation(
        self, function: Callable[[Tensor], Tensor], logits: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """E[function(sample)] with the estimator's gradient (see `Estimator.expectation`); one discrete sample in eval().

        Args:
            function: samples of shape (..., B, *event) to losses of shape (..., B).
            logits: shape (B, *event).
            generator: source of randomness, as in `forward`.

        Returns:
            losses of shape (B,).
        """
        if not self.training:
            return function(self(logits, generator))
        generator = self._generator(logits.device) if generator is None else generator
        tau = self.temperature()
        return self.estimator.expectation(function, logits, tau, generator, binary=self.binary, k=self.k)

    def _generator(self, device: torch.device) -> torch.Generator | None:
        """An estimator of the user's own may give its generator to a function of torch."""
        ours = type(self.estimator).__module__.startswith("discrete_lightning.")
        return rank_generator(device, traced=ours)


class RelaxedCategorical(Relaxed):
    """Logits (..., K) to one-hot-like samples (..., K).

    Training: the estimator's sample at the current temperature. Evaluation: one-hot argmax, or exact draws.

    Example:
        >>> layer = RelaxedCategorical(temperature=0.5).eval()
        >>> layer(torch.tensor([0.1, 2.0, -1.0]))
        tensor([0., 1., 0.])
    """

    def discrete(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.evaluation == "draw":
            return categorical_one_hot(self.scores(logits), generator=generator).to(logits.dtype)
        return argmax_one_hot(logits, logits)


class RelaxedBernoulli(Relaxed):
    """Log-odds to relaxed or 0/1 samples of the same shape.

    Training: the estimator's binary counterpart. Evaluation: 1 where the log-odds are positive, or exact draws.

    Example:
        >>> layer = RelaxedBernoulli().eval()
        >>> layer(torch.tensor([0.1, -2.0]))
        tensor([1., 0.])
    """

    binary = True

    def discrete(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.evaluation == "draw":
            return gumbel_sigmoid(self.scores(logits.detach()), hard=True, generator=generator).to(logits.dtype)
        check_elements(logits)
        positive = logits.detach() > 0
        return torch.where(logits.detach().isnan(), logits.detach(), positive.to(logits.dtype))
