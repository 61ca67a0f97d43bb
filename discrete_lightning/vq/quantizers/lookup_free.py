"""Look-up-free quantisation as a layer (Yu et al. 2023, https://arxiv.org/abs/2310.05737): see functional/lookup_free."""

import torch
from torch import Tensor

from discrete_lightning.distributed import global_mean
from discrete_lightning.functional import binary_entropy
from discrete_lightning.functional._checks import check_finite, check_tau
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.entropy import entropy_of_probabilities
from discrete_lightning.layers.entropy_bonus import is_zero
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.functional.lookup_free import lookup_free, lookup_free_decode, soft_code_marginals
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook


class LookupFreeQuantizer(Codebook):
    """One bit a channel: 2^dim codes with no table, kept in use by an entropy loss over all tokens of all ranks.

    loss = commitment * |z - sg[q]|^2 + entropy * (mean H(p(. | z)) - gamma * H(mean p(. | z)))

    H of the mean is exact for up to 8 bits; with more it is the sum over groups of 8, an upper bound.

    Args:
        dim: number of bits, 1 to 62.
        commitment: weight of the commitment loss, >= 0.
        entropy: weight of the entropy loss; a `LossWeight` that WeightAnnealing can move.
        gamma: how much using all codes counts against being decided, >= 0.
        tau: temperature of the soft assignment in the entropy loss, > 0.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = LookupFreeQuantizer(dim=10)
        >>> result = quantizer(torch.randn(2, 7, 7, 10))
        >>> quantizer.num_codes, result.indices.shape
        (1024, torch.Size([2, 7, 7]))
    """

    has_commitment_loss = True
    collapse_advice = "raise entropy or gamma"

    def __init__(
        self, dim: int, commitment: float = 0.25, entropy: float = 0.1, gamma: float = 1.0, tau: float = 0.01
    ) -> None:
        if not 1 <= dim <= 62:
            raise ValueError(f"LookupFreeQuantizer: dim is a number of bits, 1 to 62, got {dim}")
        super().__init__(2**dim, dim)
        for name, value, allowed, rule in (
            ("commitment", commitment, commitment >= 0, ">= 0"),
            ("gamma", gamma, gamma >= 0, ">= 0"),
        ):
            if not allowed:
                raise ValueError(f"LookupFreeQuantizer: {name} must be {rule}, got {value}")
        check_tau(tau, "LookupFreeQuantizer: tau")
        self.commitment, self.gamma, self.tau = commitment, gamma, tau
        self.entropy = LossWeight(entropy)

    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, "LookupFreeQuantizer")
        quantized, indices = lookup_free(vectors)
        loss = self.commitment * commitment_loss(vectors, quantized)
        if self.training and not is_zero(weight := self.entropy()):
            loss = loss + weight * self.entropy_loss(vectors)
        return Quantized(quantized, indices, loss)

    def entropy_loss(self, vectors: Tensor) -> Tensor:
        """Mean entropy of each choice - gamma * entropy of their mean, in nats, over all tokens of all ranks."""
        flat = float32(vectors).reshape(-1, self.dim)
        each = global_mean(binary_entropy(flat / (self.tau / 4.0)).sum(), len(flat))
        marginals = soft_code_marginals(flat, self.tau)
        mean = global_mean(torch.cat(marginals), len(flat))
        return each - self.gamma * entropy_of_probabilities(mean)

    def codes_of(self, indices: Tensor) -> Tensor:
        return lookup_free_decode(indices, self.dim)

    def residual(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        return (vectors - quantized) * 2

    def residual_scale(self) -> list[float]:
        return [0.5] * self.dim

    def reset_parameters(self) -> None:
        """Nothing to draw."""
