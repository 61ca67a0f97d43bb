"""Vector quantisation with codes that are moving averages (van den Oord et al. 2017, appendix A.1;
https://arxiv.org/abs/1711.00937).

    index = argmin_k |x - c_k|,   quantized = c_index forward, gradient of x backward,   loss = commitment * |x - sg[c]|^2
"""

from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.vq.functional.ema import codes_from_statistics, ema_update_
from discrete_lightning.vq.quantizers.nearest_code import Distance, Gradient, NearestCodeQuantizer


class VectorQuantizer(NearestCodeQuantizer):
    """Nearest-code quantiser whose codes follow the vectors that chose them, with k-means start and revival of dead codes.

    Codes, counts and sums are updated after each step of the optimiser that trains what it quantises, from statistics of all
    ranks; see UpdatedCodebook for how, and for when a pass counts.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        decay: of the moving averages per optimiser step, in [0, 1).
        commitment: weight of the commitment loss, >= 0.
        revive_below: a code chosen less than this share of the mean count is moved to a vector that codes fit badly; 0: never.
        kmeans_iterations: of the start on the first training batch; 0 keeps the random start.
        distance: "euclidean", or "cosine": vectors and codes of length 1 (Yu et al. 2021, https://arxiv.org/abs/2110.04627).
        gradient: "straight_through", or "rotation" (the rotation trick, Fifty et al. 2024, https://arxiv.org/abs/2410.06424).
        seed: of the generator for the start.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = VectorQuantizer(num_codes=16, dim=8)
        >>> result = quantizer(torch.randn(2, 7, 7, 8))
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([2, 7, 7, 8]), torch.Size([2, 7, 7]))
    """

    sums: Tensor

    def __init__(
        self,
        num_codes: int,
        dim: int,
        decay: float = 0.9,
        commitment: float = 1.0,
        revive_below: float = 0.1,
        kmeans_iterations: int = 10,
        distance: Distance = "euclidean",
        gradient: Gradient = "straight_through",
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_codes, dim, commitment=commitment, distance=distance, gradient=gradient,
            decay=decay, revive_below=revive_below, kmeans_iterations=kmeans_iterations, seed=seed,
        )  # fmt: skip
        self.register_buffer("codes", self._initial_codes())
        self.register_buffer("sums", torch.zeros(num_codes, dim, dtype=torch.float32))
        # Who freezes a model clears `requires_grad` of its parameters, and codes that are averages are none: this one has no
        # other use. In a module of its own it is cast as the rest of the model, which FSDP asks for.
        self.trainable = nn.ParameterList([torch.zeros(1)])
        self._remember_drawn()

    def _switch(self) -> Tensor:
        switch: Tensor = self.trainable[0]
        return switch

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        state_dict.setdefault(f"{prefix}trainable.0", self.trainable[0].detach())  # which older checkpoints lack
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _count_evenly(self, counted: Tensor) -> None:
        super()._count_evenly(counted)
        self.sums.copy_(torch.where(counted, self.sums, self.codes))

    def _scale_counts(self, scale: Tensor) -> None:
        super()._scale_counts(scale)
        self.sums.mul_(scale)

    def _follow(self, counts: Tensor, sums: Tensor, totals: Tensor, valid: Tensor) -> None:
        ema_update_(self.sums, torch.where(valid, sums, self.sums), self.decay)
        moved = codes_from_statistics(self.counts, self.sums, self.codes)
        self.codes.copy_(torch.where(valid, moved, self.codes))

    def _place(self, which: Tensor, vectors: Tensor, count: Tensor) -> None:
        super()._place(which, vectors, count)
        sums = vectors * count.expand(self.num_codes).unsqueeze(1)
        self.sums.copy_(torch.where(which.unsqueeze(1), sums, self.sums))
