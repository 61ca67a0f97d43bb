"""What sampled codebooks share: logits over the codes, a sample by any estimator, and the codes that it picks (or mixes).

sample = estimator(logits, tau),   quantized = sample @ codes
loss = commitment * |x - sg[c]|^2 - choice_entropy * mean H(p_n) - marginal_entropy * H(mean p_n)
"""

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import global_mean, rank_generator
from discrete_lightning.estimators import Estimator, GumbelSoftmax, StraightThroughGumbel
from discrete_lightning.functional import gumbel_lookup, largest_logit
from discrete_lightning.functional._checks import as_indices, check_finite
from discrete_lightning.functional._precision import addmm_float32, float32, float32_matmul, without_autocast
from discrete_lightning.functional.entropy import entropy_of_probabilities
from discrete_lightning.layers.entropy_bonus import entropy_bonus, is_zero
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.relaxed_embedding import embed
from discrete_lightning.layers.temperature import LossWeight, Temperature
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.learned_codes import LearnedCodes

_MOST_LOGITS = 4096  # codes of which logits are returned; of more they are never held whole
SHARPNESS = 16.0  # of logits from distances, in units of the mean squared distance to the nearest code
_DECAY = 0.9  # of the counts that revival looks at


class SampledCodebook(LearnedCodes):
    """Base of GumbelQuantizer (logits from distances) and LinearGumbelQuantizer (from a linear layer).

    With StraightThroughGumbel and GumbelSoftmax samples are drawn and looked up block by block (`functional.gumbel_lookup`), at
    any number of codes. Up to 4,096 codes the logits are returned, for losses and metrics; of more codes they are never held.

    Subclasses define `_linear_map`.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        estimator: StraightThroughGumbel by default.
        temperature: a Temperature, or a number for a new one.
        commitment: weight of the loss that pulls vectors to the codes that were chosen, >= 0.
        straight_through: weight of the gradient that passes from `quantized` to the vectors as if they were equal (van den Oord
            et al. 2017, section 3.2), beside the estimator's, >= 0.
        choice_entropy: weight of the bonus for undecided choices, a `LossWeight`.
        marginal_entropy: weight of the bonus for using all codes, a `LossWeight`.
        code_rate: how many times the optimiser's step a code makes, >= 1; see LearnedCodes.
        follow: the share of the way to the mean of its vectors that a code then makes, in [0, 1].
        revive_below: see StartedCodebook, as the two below.
        kmeans_iterations: of the start.
        seed: of the generator for the start.
    """

    collapse_advice = "raise revive_below or marginal_entropy, or lower the learning rate"

    def __init__(
        self,
        num_codes: int,
        dim: int,
        estimator: Estimator | None,
        temperature: Temperature | float,
        *,
        commitment: float,
        straight_through: float,
        choice_entropy: float,
        marginal_entropy: float,
        code_rate: float,
        follow: float,
        revive_below: float,
        kmeans_iterations: int,
        seed: int,
    ) -> None:
        super().__init__(
            num_codes, dim, code_rate=code_rate, follow=follow,
            decay=_DECAY, revive_below=revive_below, kmeans_iterations=kmeans_iterations, seed=seed,
        )  # fmt: skip
        self._check(commitment, commitment >= 0, "commitment", ">= 0")
        self._check(straight_through, straight_through >= 0, "straight_through", ">= 0")
        self.commitment, self.straight_through = commitment, straight_through
        self.has_logits = num_codes <= _MOST_LOGITS
        self.sample = RelaxedCategorical(estimator, temperature, samples_only=True)
        self.choice_entropy, self.marginal_entropy = LossWeight(choice_entropy), LossWeight(marginal_entropy)

    @property
    def holds_logits(self) -> bool:
        """Whether the bonus for undecided choices gives the logits no gradient, only the temperature."""
        return False

    def _linear_map(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (N, D), W (K, D) and b (K,), float32, whose logits are the vectors @ W^T + b."""
        raise NotImplementedError

    @without_autocast
    @float32_matmul  # the largest logit, and the codes that one-hot samples pick, decide what follows
    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, type(self).__name__)
        flat = float32(vectors).reshape(-1, self.dim)
        learning = self._is_learning()
        if learning:
            self._before_pass(flat)
        x, weight, bias = self._linear_map(flat)
        table = self.codes.to(flat.dtype)
        if not (self.training or self.sample.training):
            logits = _product(x, weight, bias) if self.has_logits else None
            indices = largest_logit(x, weight, bias) if logits is None else logits.argmax(-1)
            quantized, bonus = table[indices], flat.new_zeros(())
        elif isinstance(self.sample.estimator, StraightThroughGumbel | GumbelSoftmax) and not self.sample.is_watched:
            quantized, indices, bonus, logits = self._look_up(x, weight, bias, table)
        else:
            logits = _product(x, weight, bias)
            sample = self.sample(logits)
            quantized, indices, bonus = embed(sample, table), sample.detach().argmax(-1), self._bonus(logits)
        chosen = table.detach()[indices]
        loss = bonus + self.commitment * commitment_loss(flat, chosen) if self.commitment else bonus
        if self.straight_through and (self.training or self.sample.training):
            quantized = quantized + self.straight_through * (flat - flat.detach())
        if learning and self.collects:
            quantized, loss = self._collect(quantized, loss, flat, chosen, indices)
        shape = vectors.shape[:-1]
        returned = logits.view(*shape, self.num_codes) if self.has_logits and logits is not None else None
        return Quantized(quantized.to(vectors.dtype).view(vectors.shape), indices.view(shape), loss, returned)

    def _look_up(
        self, x: Tensor, weight: Tensor, bias: Tensor, table: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """A sample's codes (N, D), their indices (N,), the bonus, and the logits if they are returned."""
        has_bonus = not is_zero(self.choice_entropy() + self.marginal_entropy())  # equal on all ranks
        temperature = self.sample.temperature
        found = gumbel_lookup(
            x, weight, bias, table, temperature(),
            hard=isinstance(self.sample.estimator, StraightThroughGumbel), statistics=has_bonus,
            tempered=temperature.learnable, held=self.holds_logits, keep=self.has_logits,
            generator=rank_generator(torch.device("cpu")),
        )  # fmt: skip
        bonus = x.new_zeros(())
        if has_bonus:
            choice = global_mean(found.choice_entropy, len(x))
            used = entropy_of_probabilities(global_mean(found.marginal, len(x)))
            bonus = bonus - self.choice_entropy() * choice - self.marginal_entropy() * used
        return found.quantized, found.indices, bonus, found.logits

    def _bonus(self, logits: Tensor) -> Tensor:
        """The same bonus, of logits that are there."""
        temperature = self.sample.temperature
        tau = temperature() if temperature.learnable else 1.0
        return entropy_bonus(logits, self.choice_entropy(), self.marginal_entropy(), tau, held=self.holds_logits)

    def codes_of(self, indices: Tensor) -> Tensor:
        return nn.functional.embedding(as_indices(indices), self.codes)


def distance_map(codes: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """W (K, D) and b (K,) whose logits W x + b are -scale |x - c_k|^2, up to a constant of each x."""
    return 2 * scale * codes, -scale * codes.square().sum(-1)


def _product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The logits (N, K)."""
    if torch.is_grad_enabled() and any(each.requires_grad for each in (x, weight, bias)):
        return torch.addmm(bias, x, weight.t())
    return addmm_float32(bias, x, weight.t())
