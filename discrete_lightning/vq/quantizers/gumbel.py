"""A codebook that is sampled: Gumbel-softmax quantisation (Baevski et al. 2019, https://arxiv.org/abs/1910.05453;
Ramesh et al. 2021, https://arxiv.org/abs/2102.12092).

    logits = W x + b,   sample = estimator(logits, tau),   quantized = sample @ codes
"""

import torch
from torch import Tensor

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._checks import check_finite
from discrete_lightning.functional._precision import float32, float32_matmul
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.relaxed_embedding import embed
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.sampled import SampledCodebook


class GumbelQuantizer(SampledCodebook):
    """Vectors to logits over the codes, a sample by any estimator, and the codes it picks (or mixes).

    In eval() the most likely code, looked up in the table.

    Args:
        num_codes: K.
        dim: dimension of vectors and codes.
        estimator: StraightThroughGumbel by default.
        temperature: a Temperature, or a number for a new one.

    Example:
        >>> quantizer = GumbelQuantizer(num_codes=16, dim=8)
        >>> result = quantizer(torch.randn(2, 7, 7, 8))
        >>> result.quantized.shape, result.indices.shape, result.logits.shape
        (torch.Size([2, 7, 7, 8]), torch.Size([2, 7, 7]), torch.Size([2, 7, 7, 16]))
    """

    has_logits = True

    def __init__(
        self,
        num_codes: int,
        dim: int,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
    ) -> None:
        super().__init__(num_codes, dim)
        self.sample = RelaxedCategorical(estimator, temperature, samples_only=True)

    @float32_matmul  # the largest logit, and the codes that one-hot samples pick, decide what follows
    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, "GumbelQuantizer")
        logits = self.to_logits(vectors.to(self.to_logits.weight.dtype))
        loss = torch.zeros((), dtype=torch.float32, device=vectors.device)
        if not (self.training or self.sample.training):
            indices = logits.argmax(-1)
            return Quantized(self.codes_of(indices).to(vectors.dtype), indices, loss, logits)
        sample = self.sample(float32(logits))  # in 16 bits the entries of a relaxed sample tie
        quantized = embed(sample, self.codes.to(vectors.dtype))
        return Quantized(quantized, sample.detach().argmax(-1), loss, logits)
