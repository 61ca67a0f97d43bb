"""A sampled codebook whose logits are a linear layer's (Baevski et al. 2019, https://arxiv.org/abs/1910.05453; Ramesh et al.
2021, https://arxiv.org/abs/2102.12092).

    logits = W x + b,   sample = estimator(logits, tau),   quantized = sample @ codes
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.quantizers.sampled import SHARPNESS, SampledCodebook, distance_map


class LinearGumbelQuantizer(SampledCodebook):
    """Vectors to logits by a linear layer, a sample by any estimator, and the codes it picks (or mixes).

    As in wav2vec 2.0 and in the discrete VAE of DALL-E. The layer and the codes are drawn and trained independently, which
    collapses easily: it needs an entropy bonus or a diversity loss. GumbelQuantizer does not.

    In eval() the most likely code. `set_codes` sets the codes alone: the linear layer stays as it is.

    Args:
        num_codes: K >= 2. Above 4,096 no logits are returned (`has_logits` is False), and memory does not grow with N K.
        dim: dimension D of vectors and codes.
        estimator: StraightThroughGumbel by default.
        temperature: a Temperature, or a number for a new one.
        choice_entropy: weight of the bonus for undecided choices, of softmax(logits), or of softmax(logits / tau) if tau is
            learned, which the bonus then raises; a `LossWeight`.
        marginal_entropy: weight of the bonus for using all codes, over all vectors of all ranks; a `LossWeight`.
        kmeans_iterations: of a start on the first training batch: codes are centres of its vectors, and the layer gives the
            logits that GumbelQuantizer has for them. 0, as in the papers: the random start.
        seed: of the generator for the start.

    Raises:
        ValueError: if an argument is out of range, or the estimator is not one for samples; in forward, if vectors are not
            finite or of another dimension.

    Example:
        >>> quantizer = LinearGumbelQuantizer(num_codes=16, dim=8)
        >>> result = quantizer(torch.randn(2, 7, 7, 8))
        >>> result.quantized.shape, result.indices.shape, result.logits.shape
        (torch.Size([2, 7, 7, 8]), torch.Size([2, 7, 7]), torch.Size([2, 7, 7, 16]))
    """

    written_parameters: ClassVar[tuple[str, ...]] = ()  # but for the start
    collapse_advice = "raise marginal_entropy, start at a higher temperature or anneal it more slowly"

    def __init__(
        self,
        num_codes: int,
        dim: int,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        choice_entropy: float = 0.0,
        marginal_entropy: float = 0.0,
        kmeans_iterations: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_codes, dim, estimator, temperature, commitment=0.0, straight_through=0.0,
            choice_entropy=choice_entropy, marginal_entropy=marginal_entropy, code_rate=1.0, follow=0.0, revive_below=0.0,
            kmeans_iterations=kmeans_iterations, seed=seed,
        )  # fmt: skip
        self.register_buffer("counts", None)  # no code is revived
        self.to_logits = nn.Linear(dim, num_codes)

    def _linear_map(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, self.to_logits.weight.to(x.dtype), self.to_logits.bias.to(x.dtype)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.to_logits.reset_parameters()

    @property
    def is_updated(self) -> bool:
        """Only until the start: nothing then moves it but its optimiser."""
        return not self.started

    def _count_evenly(self, counted: Tensor) -> None:
        """Nothing looks at counts."""

    def _place(self, which: Tensor, vectors: Tensor, count: Tensor) -> None:
        self.codes.copy_(torch.where(which.unsqueeze(1), vectors, self.codes))

    def _place_all(self, pool: Tensor, codes: Tensor, counts: Tensor) -> None:
        super()._place_all(pool, codes, counts)
        distance = (pool - codes[nearest_code(pool, codes)]).square().sum(-1).mean()
        weight, bias = distance_map(codes, SHARPNESS / torch.where(distance > 0, distance, 1.0))
        self.to_logits.weight.copy_(weight)
        self.to_logits.bias.copy_(bias)

    def _started_state(self) -> list[Tensor]:
        return [self.to_logits.weight.data, self.to_logits.bias.data]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        if f"{prefix}codes" in state_dict and f"{prefix}started" not in state_dict:  # of an older version
            missing = {"updates": self.updates, "started": torch.tensor(True)}
            missing |= {f"{name}.value": getattr(self, name).value for name in ("choice_entropy", "marginal_entropy")}
            for name, value in missing.items():
                state_dict.setdefault(f"{prefix}{name}", value)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
