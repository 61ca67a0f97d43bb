"""N:M sparsity patterns that are learned: MaskLLM (Fang et al. 2024, https://arxiv.org/abs/2409.17481), with any estimator.

Of each m weights in a row, along the input dimension, n are kept. A group has C(m, n) patterns s_p in {0, 1}^m (six for 2:4)
and a logit a_p for each:

    y = estimator(kappa a, tau)        one of the patterns, relaxed or one-hot
    mask = sum_p y_p s_p

The authors' form is y = softmax((kappa a + g) / tau), the estimator GumbelSoftmax. A constant kappa is a factor of the
learning rate under Adam, so that it is 1 here; one that grows is not the same as a falling tau, which leaves the draw's most
likely pattern as it is. It is therefore a number of its own, `scale`.
"""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator, GumbelSoftmax
from discrete_lightning.functional._arguments import check_not_negative
from discrete_lightning.functional._keyed import of_batch
from discrete_lightning.functional._precision import without_autocast
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.temperature import LossWeight, Temperature

MOST_PATTERNS = 1_000


def sparsity_patterns(n: int = 2, m: int = 4) -> Tensor:
    """All patterns that keep n of m, float32 (C(m, n), m), in lexicographic order of the places kept.

    Args:
        n: entries kept, 1 <= n < m.
        m: entries of a group.

    Raises:
        ValueError: if n or m is out of range, or there are more than 1,000 patterns.

    Example:
        >>> sparsity_patterns(1, 3)
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    if not 1 <= n < m:
        raise ValueError(f"a pattern keeps n of m weights, 1 <= n < m, got n={n}, m={m}")
    if math.comb(m, n) > MOST_PATTERNS:
        raise ValueError(
            f"n={n}, m={m} has {math.comb(m, n)} patterns, each with a logit for every group of {m} weights: at most "
            f"{MOST_PATTERNS} are allowed, take a smaller m"
        )
    kept = torch.tensor(list(combinations(range(m), n)))
    return torch.zeros(len(kept), m).scatter(1, kept, 1.0)


def grouped(weight: Tensor, m: int) -> Tensor:
    """A weight (out, in, *kernel) as groups of m inputs that follow one another, (out * kernel * in / m, m).

    Raises:
        ValueError: if m does not divide the input dimension.
    """
    check_shape(weight.shape, m)
    return weight.movedim(1, -1).reshape(-1, m)


def ungrouped(groups: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """The inverse of `grouped`: (G, m) to `shape`."""
    return groups.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


@torch.no_grad()
def magnitude_pattern(weight: Tensor, n: int = 2, m: int = 4) -> Tensor:
    """The one-shot mask: of each m weights along the input dimension the n of the largest magnitude.

    Args:
        weight: (out, in) of a Linear, (out, in, *kernel) of a convolution; of equal magnitudes the first is kept.
        n: weights kept, 1 <= n < m.
        m: weights of a group; divides the input dimension.

    Returns:
        0 and 1, of the shape and dtype of `weight`.

    Raises:
        ValueError: if n or m is out of range, or m does not divide the input dimension.

    Example:
        >>> magnitude_pattern(torch.tensor([[0.1, -3.0, 2.0, 0.5]]))
        tensor([[0., 1., 1., 0.]])
    """
    if not 1 <= n < m:
        raise ValueError(f"a pattern keeps n of m weights, 1 <= n < m, got n={n}, m={m}")
    groups = grouped(weight.detach(), m)
    largest = groups.abs().argsort(dim=-1, descending=True, stable=True)[:, :n]
    return ungrouped(torch.zeros_like(groups).scatter(1, largest, 1.0), weight.shape)


class PatternMask(Recorded, ConstantBuffers):
    """A weight times an N:M mask: exactly n of each m weights along the input dimension are kept.

    Training: the estimator's draw of a pattern for each group, at the current temperature; a soft estimator mixes patterns, so
    that a group sums to n. Evaluation: the most likely pattern, 0 and 1. It is a parametrization
    (`torch.nn.utils.parametrize`); `mask_linear` puts it on all layers of a module.

    Only a mask along the input dimension has fast kernels (`torch.sparse.to_sparse_semi_structured`, on CUDA alone).

    Args:
        shape: of the weight: (out, in), or (out, in, *kernel).
        n: weights kept of a group, 1 <= n < m.
        m: weights of a group; divides `in`.
        estimator: how the gradient passes through the choice of a pattern; `GumbelSoftmax` by default, as published. Those
            that need the loss's value (LeaveOneOut) are refused: a mask is part of a whole network's weights.
        temperature: tau, a Temperature or a number. The authors' falls from 4 to 0.05.
        scale: kappa, which multiplies the logits: a LossWeight (moved by `WeightAnnealing`) or a number >= 0.
        std: standard deviation of the first logits, >= 0.

    Attributes:
        logits: a, float32 (G, C(m, n)) for G groups: 1.5 numbers a weight for 2:4.
        patterns: float32 (C(m, n), m).
        sampler: RelaxedCategorical: `use_estimator`, TemperatureAnnealing and ChoiceMonitor find it.

    Raises:
        ValueError: if an argument is out of range, m does not divide `in`, or the estimator cannot be used.

    Example:
        >>> mask = PatternMask((2, 8))
        >>> mask.set_prior(magnitude_pattern(torch.tensor([[1.0, 2, 3, 4, 8, 7, 6, 5]] * 2)))
        >>> mask.eval()(torch.ones(2, 8))[0]
        tensor([0., 0., 1., 1., 1., 1., 0., 0.])
    """

    patterns: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        n: int = 2,
        m: int = 4,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        scale: LossWeight | float = 1.0,
        std: float = 0.01,
    ) -> None:
        super().__init__()
        with real_device():
            patterns = sparsity_patterns(n, m)
        check_shape(shape, m)
        check_not_negative(std=std)
        self.shape, self.n, self.m, self.std = tuple(shape), n, m, std
        self.register_constant("patterns", patterns)
        estimator = GumbelSoftmax() if estimator is None else estimator
        self.sampler = RelaxedCategorical(estimator, temperature, samples_only=True)
        self.scale = scale if isinstance(scale, LossWeight) else LossWeight(scale)
        self.logits = nn.Parameter(torch.empty(math.prod(shape) // m, len(patterns), dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Starts with small noise, and no prior."""
        self.logits.normal_(0, self.std)

    @torch.no_grad()
    def set_prior(self, mask: Tensor, strength: float = 3.0) -> None:
        """Starts from a mask: a_p = strength * (overlap of pattern p with the mask - n^2 / m), so that its patterns come first.

        The authors add noise and measure `strength` in its standard deviations; their 3 is 3 here at their kappa of 100.

        Args:
            mask: 0 and 1, of the weight's shape: a `magnitude_pattern`, or the mask of another one-shot method.
            strength: >= 0; at 0 all patterns are equally likely.

        Raises:
            ValueError: if the mask has another shape, or `strength` is negative.
        """
        check_not_negative(strength=strength)
        if tuple(mask.shape) != self.shape:
            raise ValueError(
                f"the prior has shape {tuple(mask.shape)}, and the mask is for weights of shape {self.shape}"
            )
        overlap = grouped(mask.to(self.logits), self.m) @ self.patterns.T
        self.logits.copy_(strength * (overlap - self.n**2 / self.m))

    def extra_repr(self) -> str:
        return f"{self.shape}, n={self.n}, m={self.m}"

    def mask(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw of the mask in training, the most likely one in eval(): float32, of the weight's shape.

        Args:
            generator: source of randomness; by default the default generator, mixed with the rank where there are several.
        """
        return self._of(self.sampler(self._scaled(), of_batch(generator)))

    def probabilities(self) -> Tensor:
        """The expected mask, softmax(kappa a) @ patterns: P(a weight is kept), float32 of its shape."""
        return self._of(self._scaled().softmax(-1))

    def kept(self, weight: Tensor) -> Tensor:
        """E sum |weight * mask|^2, 0-dim float32: exact for one-hot draws, and without their noise.

        The loss less 1e-5 times this keeps what is left of the weights large (the authors' last term).

        Args:
            weight: of the mask's shape; it gets no gradient, or its size would be rewarded.
        """
        return (weight.detach().float().square() * self.probabilities()).sum()

    def forward(self, weight: Tensor) -> Tensor:
        """The masked weight, of the shape and dtype of `weight`.

        Raises:
            ValueError: if it has another shape.
        """
        if tuple(weight.shape) != self.shape:
            raise ValueError(f"the mask is for weights of shape {self.shape}, got {tuple(weight.shape)}")
        return weight * self.mask().to(weight.dtype)

    def _scaled(self) -> Tensor:
        return self.logits.float() * self.scale()

    @without_autocast
    def _of(self, patterns: Tensor) -> Tensor:
        return ungrouped(patterns.float() @ self.patterns, self.shape)


def check_shape(shape: torch.Size | tuple[int, ...], m: int, where: str = "a weight") -> None:
    """Raises ValueError unless m divides the input dimension of a weight (out, in, *kernel)."""
    if len(shape) < 2 or shape[1] % m or not math.prod(shape):
        raise ValueError(
            f"groups of m={m} weights need a weight (out, in, ...) whose in is a multiple of {m}, and {where} has shape "
            f"{tuple(shape)}: leave it out, or change m"
        )
