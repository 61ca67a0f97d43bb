"""DiVeQ, differentiable vector quantisation (Vali et al. 2025, https://arxiv.org/abs/2509.26469).

    c = argmin_k |x - c_k|,   quantized = x + |c - x| sg[u],   u the unit vector of (c - x) + n,   n ~ N(0, s^2 I)

The error of quantisation has its true length, and nearly its true direction. Gradients reach vectors and codes through the
length, so that no further loss is needed. The paper's s is a number; here it is `noise` |c - x| / sqrt(D), which makes the
angle between error and u the same whatever the scale of the vectors.
"""

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional._checks import as_indices, check_finite
from discrete_lightning.functional._precision import float32, without_autocast
from discrete_lightning.functional._random import normal
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.learned_codes import LearnedCodes

_USAGE_DECAY = 0.9  # of the counts that revival looks at


class DifferentiableVectorQuantizer(LearnedCodes):
    """Nearest-code quantiser whose error is a vector of the true length and a slightly noisy direction while training.

    In eval() the nearest code. Codes are parameters, with start and revival as in VectorQuantizer.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        noise: length of the noise as a share of the distance to the code, >= 0; 0: the code itself, with the gradient of the
            length alone.
        follow: the share of the way to the mean of its vectors that a code makes after each step beside the optimiser's, in
            [0, 1]; 0, as in the paper: the optimiser's step alone. See LearnedCodes.
        revive_below: a code chosen less than this share of the mean count is moved to a vector that codes fit badly; 0: never.
        kmeans_iterations: of the start on the first training batch; 0 keeps the random start.
        seed: of the generator for the start.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = DifferentiableVectorQuantizer(num_codes=16, dim=8)
        >>> vectors = torch.randn(100, 8)
        >>> result = quantizer(vectors)
        >>> error, distance = result.quantized - vectors, quantizer.decode(result.indices) - vectors
        >>> torch.allclose(error.norm(dim=-1), distance.norm(dim=-1), atol=1e-5)
        True
    """

    def __init__(
        self,
        num_codes: int,
        dim: int,
        noise: float = 0.1,
        follow: float = 0.1,
        revive_below: float = 0.1,
        kmeans_iterations: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_codes, dim, code_rate=1.0, follow=follow,
            decay=_USAGE_DECAY, revive_below=revive_below, kmeans_iterations=kmeans_iterations, seed=seed,
        )  # fmt: skip
        self._check(noise, 0 <= noise < float("inf"), "noise", ">= 0")
        self.noise = noise

    @without_autocast
    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, "DifferentiableVectorQuantizer")
        x = float32(vectors)
        learning = self._is_learning()
        if learning:
            self._before_pass(x)
        table = self.codes.to(x.dtype)
        indices = nearest_code(x, table)
        codes = nn.functional.embedding(indices, table)
        quantized = self._with_noise(x, codes) if self.training else self.pass_gradient(codes, x)
        loss = torch.zeros((), dtype=torch.float32, device=x.device)
        if learning and self.collects:
            quantized, loss = self._collect(quantized, loss, x, codes, indices)
        return Quantized(quantized.to(vectors.dtype), indices, loss)

    def _with_noise(self, x: Tensor, codes: Tensor) -> Tensor:
        error = codes - x
        # of a vector that is a code: no length, no direction, and no gradient of its root at 0
        length = error.square().sum(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
        with torch.no_grad():
            direction = error
            if self.noise:
                drawn = normal(x.shape, device=x.device, generator=rank_generator(x.device)).to(x.dtype)
                direction = error + self.noise / self.dim**0.5 * length * drawn
            direction = nn.functional.normalize(direction, dim=-1, eps=torch.finfo(x.dtype).tiny ** 0.5)
        return x + length * direction

    def codes_of(self, indices: Tensor) -> Tensor:
        return nn.functional.embedding(as_indices(indices), self.codes)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, noise={self.noise:g}"
