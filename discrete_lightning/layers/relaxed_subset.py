"""A layer that chooses k of K: feature selection, sparse attention, sparse mixtures."""

from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional import relaxed_top_k
from discrete_lightning.layers.temperature import Temperature


class RelaxedSubset(nn.Module):
    """Logits (..., K) to indicators (..., K) of k categories chosen without replacement.

    Training: the relaxation of Gumbel top-k at the current temperature (or exactly k ones with its gradient, if `hard`).
    Evaluation: the k largest logits, exactly.

    Args:
        k: number of categories chosen, >= 1.
        temperature: a Temperature, or a number for a new one.
        hard: whether training sees exactly k ones.

    Example:
        >>> import torch
        >>> RelaxedSubset(k=2).eval()(torch.tensor([0.1, 2.0, -1.0, 1.0]))
        tensor([0., 1., 0., 1.])
    """

    def __init__(self, k: int, temperature: Temperature | float = 1.0, hard: bool = True) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"RelaxedSubset: k must be at least 1, got {k}")
        self.k, self.hard = k, hard
        self.temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)

    def extra_repr(self) -> str:
        return f"k={self.k}, hard={self.hard}"

    def forward(self, logits: Tensor) -> Tensor:
        if not self.training:
            return relaxed_top_k(logits.detach(), self.k, hard=True, noise=False)
        generator = rank_generator(logits.device)
        return relaxed_top_k(logits, self.k, self.temperature(), hard=self.hard, generator=generator)
