"""A sampled codebook of many codes in bounded memory: see functional/gumbel_lookup."""

import torch
from torch import Tensor

from discrete_lightning.distributed import global_mean, rank_generator
from discrete_lightning.functional import gumbel_lookup, largest_logit
from discrete_lightning.functional._checks import check_finite
from discrete_lightning.functional.entropy import entropy_of_probabilities
from discrete_lightning.layers.entropy_bonus import is_zero
from discrete_lightning.layers.relaxed import Sampling
from discrete_lightning.layers.temperature import LossWeight, Temperature
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.sampled import SampledCodebook


class LargeGumbelQuantizer(SampledCodebook, Sampling):
    """GumbelQuantizer for 8,192 codes and more: logits, noise and samples are computed in blocks.

    The same logits, samples and gradients as GumbelQuantizer with StraightThroughGumbel (or GumbelSoftmax, if not `hard`).
    There are no logits to return, so the entropy bonuses belong to the layer:

    loss = -(choice_entropy * mean H(p_n) + marginal_entropy * H(mean p_n)), over all tokens of all ranks,

    where p_n is softmax(logits), or softmax(logits / tau) if tau is learned, which the bonus then raises.

    Args:
        num_codes: K >= 2.
        dim: dimension of vectors and codes.
        temperature: a Temperature, or a number for a new one.
        hard: exact codes with the gradient of the relaxed sample, or mixtures of codes while training.
        choice_entropy: weight of the bonus for undecided choices, a `LossWeight`.
        marginal_entropy: weight of the bonus for using all codes, a `LossWeight`.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = LargeGumbelQuantizer(num_codes=1000, dim=8)
        >>> result = quantizer(torch.randn(2, 7, 7, 8))
        >>> result.quantized.shape, result.indices.shape, result.logits
        (torch.Size([2, 7, 7, 8]), torch.Size([2, 7, 7]), None)
    """

    def __init__(
        self,
        num_codes: int,
        dim: int,
        temperature: Temperature | float = 1.0,
        hard: bool = True,
        choice_entropy: float = 0.0,
        marginal_entropy: float = 0.0,
    ) -> None:
        super().__init__(num_codes, dim)
        self.temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)
        self.hard = hard
        self.choice_entropy, self.marginal_entropy = LossWeight(choice_entropy), LossWeight(marginal_entropy)

    def quantize(self, vectors: Tensor) -> Quantized:
        loss = torch.zeros((), dtype=torch.float32, device=vectors.device)
        weight, bias = self.to_logits.weight, self.to_logits.bias
        if not self.training:
            check_finite(vectors, "LargeGumbelQuantizer")
            indices = largest_logit(vectors, weight, bias)
            return Quantized(self.codes_of(indices).to(vectors.dtype), indices, loss)
        has_bonus = not is_zero(self.choice_entropy() + self.marginal_entropy())  # equal on all ranks
        result = gumbel_lookup(
            vectors, weight, bias, self.codes, self.temperature(),
            hard=self.hard, statistics=has_bonus, tempered=self.temperature.learnable,
            generator=rank_generator(torch.device("cpu")),
        )  # fmt: skip
        quantized = result.quantized.to(vectors.dtype)
        if not has_bonus:
            return Quantized(quantized, result.indices, loss)
        tokens = result.indices.numel()
        choice = global_mean(result.choice_entropy, tokens)
        used = entropy_of_probabilities(global_mean(result.marginal, tokens))
        loss = loss - self.choice_entropy() * choice - self.marginal_entropy() * used
        return Quantized(quantized, result.indices, loss)
