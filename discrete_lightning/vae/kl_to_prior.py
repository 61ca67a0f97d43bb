"""KL divergence of discrete latents to their prior (Jang et al. 2016; https://arxiv.org/abs/1611.01144), analytic."""

from torch import Tensor

from discrete_lightning.distributed import global_mean
from discrete_lightning.functional import binary_kl_to_uniform, kl_divergence, kl_to_uniform
from discrete_lightning.functional._mask import positions_mask, zero_padding
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.layers.temperature import LossWeight


def kl_to_prior(
    logits: Tensor, prior_logits: Tensor | None = None, *, binary: bool = False, mask: Tensor | None = None
) -> Tensor:
    """KL(q || prior) summed over the latents of each example, in nats.

    Args:
        logits: categorical (B, ..., K), or log-odds (B, ...) if `binary`.
        prior_logits: categorical prior, broadcast against `logits`; uniform if None.
        binary: Bernoulli latents with a uniform prior.
        mask: bool, of the shape of the latents (B, ...) or its first dimensions; False where a latent is padding, which adds 0.

    Returns:
        float32 of shape (B,), >= 0.

    Raises:
        ValueError: if both `binary` and `prior_logits` are given.

    Example:
        >>> kl_to_prior(torch.zeros(2, 20, 10)).round(decimals=4)
        tensor([0., 0.])
    """
    if binary and prior_logits is not None:
        raise ValueError("Bernoulli latents have a uniform prior here: leave prior_logits out")
    if mask is not None:
        mask = positions_mask(mask, logits.shape if binary else logits.shape[:-1])
        logits = zero_padding(logits, mask)
    if binary:
        values = binary_kl_to_uniform(logits)
    else:
        values = kl_to_uniform(logits) if prior_logits is None else kl_divergence(logits, prior_logits)
    if mask is not None:
        values = zero_padding(values, mask)
    return values.flatten(1).sum(1) if values.ndim > 1 else values


class KLToPrior(PrivateState):
    """weight * KL(q || prior), the mean over examples of all ranks; `WeightAnnealing` moves the weight (KL warm-up, beta-VAE).

    Args:
        weight: >= 0; 1 is the evidence lower bound.
        prior_logits: categorical prior (K,) or (..., K); uniform if None.

    Example:
        >>> KLToPrior(0.5)(torch.zeros(2, 20, 10)).round(decimals=4)
        tensor(0.)
    """

    prior_logits: Tensor | None

    def __init__(self, weight: float = 1.0, prior_logits: Tensor | None = None) -> None:
        super().__init__()
        self.weight = LossWeight(weight)
        self.register_private("prior_logits", prior_logits, persistent=prior_logits is not None)

    def forward(self, logits: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss term of logits (B, ..., K), 0-dim float32.

        Args:
            logits: shape (B, ..., K).
            mask: bool, shape (B, ...) or its first dimensions; False where a latent is padding. An example that is nothing
                but padding does not count; the term is 0 where no example counts.
        """
        values = kl_to_prior(logits, self.prior_logits, mask=mask)
        examples: int | Tensor = len(values)
        if mask is not None:
            examples = positions_mask(mask, logits.shape[:-1]).unsqueeze(-1).flatten(1).any(1).sum()
        return self.weight() * global_mean(values.sum(), examples)
