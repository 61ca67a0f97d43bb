"""Discrete random layers: an estimator and a temperature while training, discrete and deterministic in evaluation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.estimators import Estimator, StraightThroughGumbel
from discrete_lightning.functional import argmax_one_hot, categorical_one_hot, gumbel_sigmoid
from discrete_lightning.functional._checks import check_elements
from discrete_lightning.layers.temperature import Temperature

Evaluation = Literal["mode", "draw"]


class Relaxed(nn.Module):
    """What RelaxedCategorical and RelaxedBernoulli share; callbacks and `relaxed` find discrete layers by this type.

    Args:
        estimator: how the gradient passes the choice.
        temperature: a Temperature, or a number for a new one.
        evaluation: what `eval()` gives: the most likely choice ("mode") or an exact draw ("draw").
        samples_only: whether the layer is only called, never asked for an `expectation`: refuses estimators that need the
            loss's value.

    Raises:
        ValueError: if the estimator cannot serve this layer.
    """

    binary: bool

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

    def set_estimator(self, estimator: Estimator) -> None:
        """Changes the estimator.

        Raises:
            ValueError: if it cannot serve this layer.
        """
        if not (self.binary or estimator.categorical):
            raise ValueError(
                f"{estimator} is for binary variables, and {type(self).__name__} chooses among categories; "
                "LeaveOneOut is the unbiased estimator for those"
            )
        if self.samples_only and not estimator.pathwise:
            raise ValueError(
                f"{estimator} needs the loss's value, and here only samples are passed on; take one of the estimators whose "
                "samples carry a gradient, such as ReinMax, or a model that uses `expectation`, such as CategoricalVAE"
            )
        self.estimator = estimator

    def discrete(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The discrete sample of evaluation: the mode, or an exact draw. No gradient."""
        raise NotImplementedError

    def forward(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A sample of the shape and dtype of `logits`.

        Noise comes from `generator`; by default from the default generator, mixed with the rank where there are several.
        """
        if generator is None and (self.training or self.evaluation == "draw"):
            generator = rank_generator(logits.device)
        if not self.training:
            return self.discrete(logits, generator)
        draw = self.estimator.bernoulli if self.binary else self.estimator
        return draw(logits, self.temperature(), generator)

    def expectation(self, function: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
        """E[function(sample)] with the estimator's gradient (see `Estimator.expectation`); one discrete sample in eval().

        Args:
            function: samples of shape (..., B, *event) to losses of shape (..., B).
            logits: shape (B, *event).

        Returns:
            losses of shape (B,).
        """
        if not self.training:
            return function(self(logits))
        generator = rank_generator(logits.device)
        return self.estimator.expectation(function, logits, self.temperature(), generator, binary=self.binary)


class RelaxedCategorical(Relaxed):
    """Logits (..., K) to one-hot-like samples (..., K).

    Training: the estimator's sample at the current temperature. Evaluation: one-hot argmax, or exact draws.

    Example:
        >>> layer = RelaxedCategorical(temperature=0.5).eval()
        >>> layer(torch.tensor([0.1, 2.0, -1.0]))
        tensor([0., 1., 0.])
    """

    binary = False

    def discrete(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.evaluation == "draw":
            return categorical_one_hot(logits, generator=generator)
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
            return gumbel_sigmoid(logits.detach(), hard=True, generator=generator)
        check_elements(logits)
        positive = logits.detach() > 0
        return torch.where(logits.detach().isnan(), logits.detach(), positive.to(logits.dtype))


def use_estimator(module: nn.Module, estimator: Estimator) -> None:
    """Gives every discrete layer in `module` this estimator.

    Raises:
        ValueError: if there is no such layer, or it cannot use the estimator.

    Example:
        >>> from discrete_lightning.estimators import GumbelSoftmax
        >>> layer = RelaxedCategorical()
        >>> use_estimator(layer, GumbelSoftmax())
        >>> layer.estimator
        GumbelSoftmax()
    """
    layers = [layer for layer in module.modules() if isinstance(layer, Relaxed)]
    if not layers:
        raise ValueError(
            f"{type(module).__name__} has no layer that samples, so the estimator {estimator} would do nothing; "
            "leave the estimator out, or take a quantiser that samples, such as GumbelQuantizer"
        )
    for layer in layers:
        layer.set_estimator(estimator)


@contextmanager
def relaxed(module: nn.Module, seed: int = 0) -> Iterator[None]:
    """Inside, the discrete layers of a module in eval() sample as in training; the rest stays in eval().

    For measuring the gap between relaxed and discrete. Noise is repeatable, from `seed`, and the default generators are as
    before afterwards.

    Example:
        >>> layer = RelaxedCategorical().eval()
        >>> with relaxed(layer):
        ...     layer.training
        True
        >>> layer.training
        False
    """
    before = [(layer, layer.training) for layer in module.modules() if isinstance(layer, Relaxed)]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        try:
            for layer, _ in before:
                layer.training = True
            yield
        finally:
            for layer, training in before:
                layer.training = training
