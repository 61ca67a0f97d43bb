"""A codebook that is sampled, near codes more often: Gumbel-softmax quantisation from distances (Jang et al. 2016,
https://arxiv.org/abs/1611.01144; Sonderby et al. 2017, https://openreview.net/forum?id=BkxLwB5gg; Takida et al. 2022,
https://arxiv.org/abs/2205.07547).

    logits_k = -sharpness |x - c_k|^2 / v,   sample = estimator(logits, tau),   quantized = sample @ codes

v is the mean squared distance of a vector to its nearest code, a moving average over the vectors of all ranks.
"""

from typing import Any

from torch import Tensor

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.vq.quantizers.measured_distance import MeasuredDistance
from discrete_lightning.vq.quantizers.sampled import SHARPNESS, SampledCodebook, distance_map


class GumbelQuantizer(MeasuredDistance, SampledCodebook):
    """Vectors to logits over the codes, a sample by any estimator, and the codes it picks (or mixes).

    In eval() the nearest code. No flag is needed for a codebook that lives: codes start by k-means on the first training batch,
    are parameters with a learning rate of their own, and rarely chosen ones move to where they are needed, from statistics of
    all ranks; see UpdatedCodebook for when.

    **Scale and temperature.** Logits are distances in units of v, the mean squared distance to the nearest code: a code whose
    squared distance is twice that of the nearest one has a logit that is lower by about `sharpness`, whatever the size of the
    vectors. A hard sample is an exact draw from softmax(logits). tau is what it is for the estimator: the gradient is that of
    softmax((logits + G) / tau), so that `sharpness / tau` is its one inverse temperature. v is measured, not learned: the
    scale has no gradient that could undo the temperature. Where tau is learned, the bonus for undecided choices moves it alone:
    vectors would earn the bonus by moving away from all codes alike. With a fixed tau they do move so, and a `choice_entropy`
    that is large beside the rest of the loss lets codes die.

    Args:
        num_codes: K >= 2. Above 4,096 no logits are returned (`has_logits` is False), and memory does not grow with N K.
        dim: dimension D of vectors and codes.
        estimator: StraightThroughGumbel by default.
        temperature: a Temperature, or a number for a new one.
        sharpness: how certain choices are, > 0: of the difference of two codes' logits.
        commitment: weight of the loss that pulls vectors to the codes that were chosen, >= 0.
        straight_through: weight of the gradient that passes from `quantized` to the vectors as if they were equal (van den Oord
            et al. 2017, section 3.2; https://arxiv.org/abs/1711.00937), beside the estimator's, >= 0. 0: the estimator's alone.
        choice_entropy: weight of the bonus for undecided choices, of softmax(logits), or of softmax(logits / tau) if tau is
            learned, which alone the bonus then moves, up; a `LossWeight`.
        marginal_entropy: weight of the bonus for using all codes, over all vectors of all ranks; a `LossWeight`.
        code_rate: how many times the optimiser's step a code makes, >= 1; see LearnedCodes. What it adds to a step is at most
            0.3 sqrt(v) long.
        follow: the share of the way to the mean of its vectors that a code then makes, in [0, 1]; 0: the loss's gradient alone.
        revive_below: a code chosen less than this share of the mean count is moved to a vector that codes fit badly; 0: never.
        kmeans_iterations: of the start on the first training batch; 0 keeps the random start.
        seed: of the generator for the start.

    Raises:
        ValueError: if an argument is out of range, or the estimator is not one for samples; in forward, if vectors are not
            finite or of another dimension.

    Example:
        >>> quantizer = GumbelQuantizer(num_codes=16, dim=8)
        >>> result = quantizer(torch.randn(2, 7, 7, 8))
        >>> result.quantized.shape, result.indices.shape, result.logits.shape
        (torch.Size([2, 7, 7, 8]), torch.Size([2, 7, 7]), torch.Size([2, 7, 7, 16]))
    """

    def __init__(
        self,
        num_codes: int,
        dim: int,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 4.0,
        sharpness: float = SHARPNESS,
        commitment: float = 1.5,
        straight_through: float = 2.0,
        choice_entropy: float = 0.0,
        marginal_entropy: float = 0.0,
        code_rate: float = 10.0,
        follow: float = 0.1,
        revive_below: float = 0.1,
        kmeans_iterations: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_codes, dim, estimator, temperature, commitment=commitment, straight_through=straight_through,
            choice_entropy=choice_entropy, marginal_entropy=marginal_entropy, code_rate=code_rate, follow=follow,
            revive_below=revive_below, kmeans_iterations=kmeans_iterations, seed=seed, sharpness=sharpness,
        )  # fmt: skip

    @property
    def holds_logits(self) -> bool:
        return self.sample.temperature.learnable

    def _linear_map(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        table = self.codes.to(x.dtype)
        # |c|^2 - 2 x.c loses all digits far from the origin: distances do not change when both sides move
        centre = table.detach().mean(0)
        return x - centre, *distance_map(table - centre, self.scale.to(x.dtype))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, missing_keys: list[str],
        unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        if f"{prefix}to_logits.weight" in state_dict:
            error_msgs.append(
                f"{prefix}to_logits is of a codebook whose logits are a linear layer: that is LinearGumbelQuantizer now"
            )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
