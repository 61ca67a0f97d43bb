"""Vector quantisation with learned codes (van den Oord et al. 2017, eq. 3; https://arxiv.org/abs/1711.00937).

    loss = codebook * |sg[x] - c|^2 + commitment * |x - sg[c]|^2

After each step of the optimiser a code also makes a part of a Newton step on its share of the first term, n_k |c_k - m_k|^2, where
m_k is the mean of the n_k vectors that chose it, and N_k the moving average of n_k:

    c_k <- c_k + min(1, follow n_k / N_k) (m_k - c_k)
"""

import torch
from torch import Tensor

from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.quantizers.learned_codes import LearnedCodes
from discrete_lightning.vq.quantizers.nearest_code import Distance, Gradient, NearestCodeQuantizer

_USAGE_DECAY = 0.9  # of the counts that revival looks at


class LearnedVectorQuantizer(NearestCodeQuantizer, LearnedCodes):
    """Nearest-code quantiser whose codes are parameters, trained by the optimiser; start and revival as in VectorQuantizer.

    An optimiser's step alone does not fit codes: Adam's has about the length of the learning rate, whatever the gradient, which is
    too short to follow an encoder at a rate of 1e-4, and throws codes out of the data at 1e-2. So codes also follow the mean of
    their vectors, at any learning rate and with any optimiser.

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
            num_codes, dim, commitment=commitment, distance=distance, gradient=gradient, code_rate=1.0,
            decay=_USAGE_DECAY, revive_below=revive_below, kmeans_iterations=kmeans_iterations, seed=seed,
        )  # fmt: skip
        self._check(codebook, codebook >= 0, "codebook", ">= 0")
        self._check(follow, 0 <= follow <= 1, "follow", "in [0, 1]")
        self.codebook, self.follow = codebook, follow

    def _follow(self, counts: Tensor, sums: Tensor, totals: Tensor, valid: Tensor) -> None:
        if not (self.follow and self.codebook):
            return
        share = (self.follow * counts / self.counts.clamp_min(1e-30)).clamp_max(1.0)
        means = sums / counts.clamp_min(1.0).unsqueeze(1)
        moved = torch.lerp(self.codes, means, share.unsqueeze(1))  # no share where no vector chose the code
        self.codes.copy_(torch.where(valid, moved, self.codes))

    def _loss(self, vectors: Tensor, codes: Tensor) -> Tensor:
        return self.codebook * commitment_loss(codes, vectors) + super()._loss(vectors, codes)
