"""The base class of the gradient estimators: logits and a temperature in, a one-hot-like sample out."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_elements, check_one_kind, check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, largest
from discrete_lightning.functional.log_probability import SubsetDistribution


def as_pairs(logits: Tensor, tau: float | Tensor) -> tuple[Tensor, float | Tensor]:
    """Log-odds of any shape as logits (..., 2) of two categories, the first for 1, in float32, and `tau` to divide those."""
    check_elements(logits)
    odds = float32(logits)
    # odds and 0, less the larger of them: infinite log-odds mask a category. At 0 the first alone has a gradient
    pair = torch.stack([odds.clamp_max(0.0), -torch.relu(odds)], -1)
    if isinstance(tau, Tensor) and tau.ndim:
        check_tau(tau, logits=logits, dim=None)
        tau = tau.unsqueeze(-1)
    return pair, tau


class Estimator:
    """A way to send a gradient through a discrete choice. Subclasses are frozen dataclasses: hashable and picklable.

    An estimator is used in one of two ways. Calling it gives a sample that carries its gradient, for the estimators that
    differentiate along a path (`bernoulli` does so for binary variables, `subset` for k of K categories):

        sample = estimator(logits, tau);  loss = f(sample)

    `expectation` takes the function itself, so it also works for estimators that draw several samples or need the loss's
    value (score function, leave-one-out): a model written with it works with every estimator.

        loss = estimator.expectation(f, logits, tau)

    Attributes:
        pathwise: whether calling it gives samples that carry a gradient. The others can only be used through `expectation`, and
            a layer that needs samples refuses them when it is built.
        categorical: whether it can be used for categorical variables and subsets (all can be used for binary variables).
        hard: whether samples have entries 0 and 1 alone. A layer may then run what was chosen alone; of other samples it runs
            everything, which is always right.
        subsets: the distribution of `subset`, as `functional.log_probability(..., k=k, subsets=...)` takes it. The same logits
            give different probabilities under another, so a change between estimators that differ here changes the model.
        chooses_subsets: whether it can choose k > 1 of K categories.
        softmax: whether it draws from softmax(logits) and sigmoid(logits); of others `scores` says from what. What relies on it
            (a penalty on sigmoid(logits), say) refuses the others.
    """

    pathwise: ClassVar[bool] = True
    categorical: ClassVar[bool] = True
    hard: ClassVar[bool] = False
    subsets: ClassVar[SubsetDistribution] = "plackett_luce"
    chooses_subsets: ClassVar[bool] = True
    softmax: ClassVar[bool] = True

    def scores(self, logits: Tensor, *, binary: bool = False) -> Tensor:
        """The unnormalised log-probabilities that it draws from, or log-odds if `binary`: by default the logits themselves.

        Evaluation, the KL term and the bound of a VAE, exact gradients and monitors read the distribution here.
        """
        return logits

    def evaluations(self, event: Sequence[int], *, binary: bool = False, k: int | None = None) -> int:
        """How many samples of each example `expectation` gives to its function, for logits of shape (B, *event)."""
        return 1

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """One sample of Categorical(softmax(logits)), relaxed or one-hot.

        Args:
            logits: unnormalised log-probabilities, shape (..., K), any floating dtype.
            tau: temperature > 0, a number, a 0-dim tensor, or a tensor of one temperature a row: it broadcasts against
                logits[..., :1]. A tensor may be learnable.
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

        By default a sample of two categories whose logits differ by `logits`. `tau` may be a tensor that broadcasts against
        `logits`.
        """
        return self(*as_pairs(logits, tau), generator)[..., 0].to(logits.dtype)

    def subset(
        self, logits: Tensor, k: int, tau: float | Tensor = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """A sample of k of K categories without replacement: one k-hot vector, relaxed or of 0 and 1.

        The draw is from the distribution that `subsets` names: that of Gumbel top-k (Plackett-Luce), or with SIMPLE the
        conditional Bernoulli. `functional.log_probability(..., k=k, subsets=estimator.subsets)` gives its probabilities. With
        k = 1 it is the estimator itself; with k = K all entries are 1 and nothing gets a gradient.

        Args:
            logits: unnormalised log-probabilities, shape (..., K), any floating dtype; -inf masks a category.
            k: number of categories, 1 <= k <= K.
            tau: temperature > 0; see `__call__`.
            generator: source of randomness.

        Returns:
            Shape and dtype of `logits`; sums to k in the last dimension.

        Raises:
            TypeError: if the estimator needs the loss's value, or is for binary variables only.
            ValueError: if k is out of range, tau is not positive, or a row has NaN, +inf or fewer than k categories that are
                not masked.
        """
        self.check_subset(k)
        if k == 1 or not self.pathwise:  # the latter say what they need instead
            return self(logits, tau, generator)
        return self._subset(logits, k, tau, generator)

    def check_subset(self, k: int | None) -> None:
        """Raises TypeError if it cannot choose k categories; None is one of them."""
        if k is not None and not self.categorical:
            raise TypeError(f"{self} is for binary variables: it does not choose k={k} of several categories")
        if k is not None and k > 1 and not self.chooses_subsets:
            raise TypeError(f"{self} chooses one category, not k={k}: take LeaveOneOut or IndeCateR for subsets")

    def _subset(self, logits: Tensor, k: int, tau: float | Tensor, generator: torch.Generator | None) -> Tensor:
        """`subset` for k > 1; an estimator with its own rule for subsets overrides this.

        By default k calls of the estimator, one after another, each over the categories that are left. The draw is exactly
        Plackett-Luce; an estimator that draws otherwise says so in `subsets`. The gradient ignores that another first category
        would leave other categories for the next call.
        """
        check_k(logits, k)
        check_tau(tau, logits=logits)
        if k == logits.shape[-1]:
            return all_chosen(logits)
        largest(logits.detach(), logits, k)  # says what is wrong with rows that have no such subset
        total, remaining = torch.zeros_like(logits), logits
        for _ in range(k):
            sample = self(remaining, tau, generator)
            total = total + sample
            remaining = remaining.scatter(-1, sample.detach().argmax(-1, keepdim=True), -torch.inf)
        return total

    def expectation(
        self,
        function: Callable[[Tensor], Tensor],
        logits: Tensor,
        tau: float | Tensor = 1.0,
        generator: torch.Generator | None = None,
        *,
        binary: bool = False,
        k: int | None = None,
    ) -> Tensor:
        """Estimates E[function(sample)] such that its backward pass is this estimator's gradient.

        Args:
            function: maps samples of shape (..., B, *event) to losses of shape (..., B). An estimator that draws several
                samples at once adds leading dimensions, which `function` must accept.
            logits: shape (B, *event), K last unless `binary`.
            tau: temperature > 0; see `__call__` and `bernoulli`.
            generator: source of randomness.
            binary: whether `logits` are log-odds of Bernoulli variables.
            k: the number of categories to choose without replacement, see `subset`; None for one of them.

        Returns:
            Losses of shape (B,): reduce and call `backward`.

        Raises:
            ValueError: if `binary` and `k` are both given.

        Example:
            >>> from discrete_lightning.estimators import StraightThrough
            >>> logits, cost = torch.zeros(4, 2, requires_grad=True), torch.tensor([0.0, 1.0])
            >>> loss = StraightThrough().expectation(lambda sample: sample @ cost, logits)
            >>> loss.sum().backward()
            >>> logits.grad[0]
            tensor([-0.2500,  0.2500])
        """
        if k is not None:
            check_one_kind(binary, k)
            return function(self.subset(logits, k, tau, generator))
        draw = self.bernoulli if binary else self
        return function(draw(logits, tau, generator))
