"""Pure tensor functions: torch only, no state, nothing of Lightning. One method a file, the paper first."""

from discrete_lightning.functional.commitment import commitment_loss
from discrete_lightning.functional.ema import code_statistics, codes_from_statistics, ema_update_
from discrete_lightning.functional.entropy import (
    binary_entropy,
    binary_kl_to_uniform,
    entropy,
    kl_divergence,
    kl_to_uniform,
    perplexity,
)
from discrete_lightning.functional.gumbel import categorical_one_hot, exponential_noise, gumbel_max, gumbel_noise
from discrete_lightning.functional.gumbel_sigmoid import gumbel_sigmoid, logistic_noise
from discrete_lightning.functional.gumbel_softmax import gumbel_softmax, softmax
from discrete_lightning.functional.kmeans import kmeans
from discrete_lightning.functional.nearest_code import nearest_code
from discrete_lightning.functional.straight_through import one_hot, straight_through

__all__ = [
    "binary_entropy",
    "binary_kl_to_uniform",
    "categorical_one_hot",
    "code_statistics",
    "codes_from_statistics",
    "commitment_loss",
    "ema_update_",
    "entropy",
    "exponential_noise",
    "gumbel_max",
    "gumbel_noise",
    "gumbel_sigmoid",
    "gumbel_softmax",
    "kl_divergence",
    "kl_to_uniform",
    "kmeans",
    "logistic_noise",
    "nearest_code",
    "one_hot",
    "perplexity",
    "softmax",
    "straight_through",
]
