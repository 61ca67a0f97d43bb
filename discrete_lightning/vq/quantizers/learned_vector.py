"""Vector quantisation with learned codes (van den Oord et al. 2017, eq. 3; https://arxiv.org/abs/1711.00937).

loss = codebook * |sg[x] - c|^2 + commitment * |x - sg[c]|^2
"""

from torch import Tensor

from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.quantizers.learned_codes import LearnedCodes
from discrete_lightning.vq.quantizers.nearest_code import Distance, Gradient, NearestCodeQuantizer

_USAGE_DECAY = 0.9  # of the counts that revival looks at


class LearnedVectorQuantizer(NearestCodeQuantizer, LearnedCodes):
    """Nearest-code quantiser whose codes are parameters, trained by the optimiser; start and revival as in VectorQuantizer.

    Codes also follow the mean of their vectors after each step, at any learning rate and with any optimiser: see LearnedCodes.

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
        follow: the share of the way to the mean of its vectors that a code makes after each step beside the optimiser's, in
            [0, 1]; 0, or without a `codebook` loss: the optimiser's step alone.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> import torch
        >>> quantizer = LearnedVectorQuantizer(num_codes=16, dim=8)
        >>> quantizer(torch.randn(100, 8)).loss.backward()
        >>> quantizer.codes.grad.shape
        torch.Size([16, 8])
    """

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
        follow: float = 0.1,
    ) -> None:
        super().__init__(
            num_codes, dim, commitment=commitment, distance=distance, gradient=gradient,
            code_rate=1.0, follow=follow if codebook else 0.0,
            decay=_USAGE_DECAY, revive_below=revive_below, kmeans_iterations=kmeans_iterations, seed=seed,
        )  # fmt: skip
        self._check(codebook, codebook >= 0, "codebook", ">= 0")
        self.codebook = codebook

    def _loss(self, vectors: Tensor, codes: Tensor) -> Tensor:
        return self.codebook * commitment_loss(codes, vectors) + super()._loss(vectors, codes)
