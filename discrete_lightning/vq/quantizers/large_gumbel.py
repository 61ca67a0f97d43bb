"""LinearGumbelQuantizer of any number of codes in blocks, so that its logits are never held: see functional/gumbel_lookup."""

from typing import Any

from torch import Tensor

from discrete_lightning.estimators import GumbelSoftmax, StraightThroughGumbel
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.vq.quantizers.linear_gumbel import LinearGumbelQuantizer


class LargeGumbelQuantizer(LinearGumbelQuantizer):
    """LinearGumbelQuantizer that never returns logits, at any number of codes.

    LinearGumbelQuantizer and GumbelQuantizer do the same by themselves above 4,096 codes.

    Args:
        num_codes: K >= 2.
        dim: dimension of vectors and codes.
        temperature: a Temperature, or a number for a new one.
        hard: exact codes with the gradient of the relaxed sample (StraightThroughGumbel), or mixtures of codes while training
            (GumbelSoftmax).
        choice_entropy: weight of the bonus for undecided choices, a `LossWeight`.
        marginal_entropy: weight of the bonus for using all codes, a `LossWeight`.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> import torch
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
        estimator = StraightThroughGumbel() if hard else GumbelSoftmax()
        super().__init__(num_codes, dim, estimator, temperature, choice_entropy, marginal_entropy)
        self.has_logits = False

    @property
    def temperature(self) -> Temperature:
        """That of its samples."""
        return self.sample.temperature

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in ("value", "raw"):  # as older checkpoints call them
            value: Tensor | None = state_dict.pop(f"{prefix}temperature.{name}", None)
            if value is not None:
                state_dict[f"{prefix}sample.temperature.{name}"] = value
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
