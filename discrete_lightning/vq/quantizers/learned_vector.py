"""Vector quantisation with learned codes (van den Oord et al. 2017, eq. 3; https://arxiv.org/abs/1711.00937).

loss = codebook * |sg[x] - c|^2 + commitment * |x - sg[c]|^2
"""

from torch import Tensor, nn

from discrete_lightning.layers.float32 import check_whole
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.quantizers.code_window import CodeWindow
from discrete_lightning.vq.quantizers.nearest_code import Distance, Gradient, NearestCodeQuantizer

_USAGE_DECAY = 0.99  # of the counts that revival looks at


class LearnedVectorQuantizer(NearestCodeQuantizer):
    """Nearest-code quantiser whose codes are parameters, trained by the optimiser; start and revival as in VectorQuantizer.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        codebook: weight of the loss that pulls codes to their vectors, >= 0.
        commitment: weight of the loss that pulls vectors to their codes, >= 0.
        revive_below: a code chosen less than this share of the mean count is moved to a vector that codes fit badly; 0: never.
        kmeans_iterations: of the start on the first training batch; 0 keeps the random start.
        distance: "euclidean" or "cosine".
        gradient: "straight_through" or "rotation"; see VectorQuantizer.
        seed: of the generator for the start.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> import torch
        >>> quantizer = LearnedVectorQuantizer(num_codes=16, dim=8)
        >>> quantizer(torch.randn(100, 8)).loss.backward()
        >>> quantizer.codes.grad.shape
        torch.Size([16, 8])
    """

    written_parameters = ("codes",)

    def __init__(
        self,
        num_codes: int,
        dim: int,
        codebook: float = 1.0,
        commitment: float = 1.0,
        revive_below: float = 0.1,
        kmeans_iterations: int = 10,
        distance: Distance = "euclidean",
        gradient: Gradient = "straight_through",
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_codes, dim, _USAGE_DECAY, commitment, revive_below, kmeans_iterations, distance, gradient, seed
        )  # fmt: skip
        if not codebook >= 0:
            raise ValueError(f"LearnedVectorQuantizer: codebook must be >= 0, got {codebook}")
        self.codebook = codebook
        self.codes = nn.Parameter(self._initial_codes())
        self._remember_drawn()

    def _apply_window(self, window: CodeWindow | None) -> None:
        if self.kmeans_iterations or self.revive_below:
            advice = "leave it out (ignored_params of fully_shard), or give kmeans_iterations=0 and revive_below=0"
            check_whole(self.codes, (self.num_codes, self.dim), "LearnedVectorQuantizer.codes", advice)
        super()._apply_window(window)

    def _switch(self) -> Tensor:
        return self.codes

    def _loss(self, vectors: Tensor, codes: Tensor) -> Tensor:
        return self.codebook * commitment_loss(codes, vectors) + super()._loss(vectors, codes)
