"""What every gradient estimator is: logits and a temperature in, a one-hot-like sample out."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.functional._precision import float32


class Estimator:
    """A way to send a gradient through a discrete choice. Subclasses are frozen dataclasses: hashable and picklable.

    An estimator is used in one of two ways. Calling it gives a sample that carries its gradient, for the estimators that
    differentiate along a path:

        sample = estimator(logits, tau);  loss = f(sample)

    `expectation` takes the function itself, and so serves those too that draw several samples or need the loss's value
    (score function, leave-one-out): a model written with it works with every estimator.

        loss = estimator.expectation(f, logits, tau)

    Attributes:
        pathwise: whether calling it gives samples that carry a gradient. The others serve by `expectation` only, and a layer
            that needs samples refuses them when it is built.
        categorical: whether it serves categorical variables (all serve binary ones).
    """

    pathwise: ClassVar[bool] = True
    categorical: ClassVar[bool] = True

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """One sample of Categorical(softmax(logits)), relaxed or one-hot.

        Args:
            logits: unnormalised log-probabilities, shape (..., K), any floating dtype.
            tau: temperature > 0; a 0-dim tensor may be learnable.
            generator: source of randomness.

        Returns:
            Sample of the shape and dtype of `logits`.

        Raises:
            TypeError: if the estimator needs the loss's value.
        """
        raise TypeError(
            f"{type(self).__name__} needs the loss's value, so a sample alone carries no gradient: write the loss as a "
            "function of the sample and use estimator.expectation(function, logits, tau)"
        )

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """The binary counterpart: one sample of Bernoulli(sigmoid(logits)), elementwise, relaxed or 0/1.

        By default that of the two categories of logits `logits` and 0.
        """
        odds = float32(logits).clamp(-1e30, 1e30)  # infinite log-odds are sure, and no error as infinite logits are
        return self(torch.stack([odds, torch.zeros_like(odds)], -1), tau, generator)[..., 0].to(logits.dtype)

    def expectation(
        self,
        function: Callable[[Tensor], Tensor],
        logits: Tensor,
        tau: float | Tensor = 1.0,
        generator: torch.Generator | None = None,
        *,
        binary: bool = False,
    ) -> Tensor:
        """Estimates E[function(sample)] such that its backward pass is this estimator's gradient.

        Args:
            function: maps samples of shape (..., B, *event) to losses of shape (..., B). Leading dimensions appear when an
                estimator draws several samples at once, so `function` must accept them by broadcasting.
            logits: shape (B, *event), K last unless `binary`.
            tau: temperature > 0.
            generator: source of randomness.
            binary: whether `logits` are log-odds of Bernoulli variables.

        Returns:
            Losses of shape (B,): reduce and call `backward`.

        Example:
            >>> from discrete_lightning.estimators import StraightThrough
            >>> logits, cost = torch.zeros(4, 2, requires_grad=True), torch.tensor([0.0, 1.0])
            >>> loss = StraightThrough().expectation(lambda sample: sample @ cost, logits)
            >>> loss.sum().backward()
            >>> logits.grad[0]
            tensor([-0.2500,  0.2500])
        """
        draw = self.bernoulli if binary else self
        return function(draw(logits, tau, generator))
