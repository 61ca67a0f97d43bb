"""SimVQ (Zhu et al. 2024, https://arxiv.org/abs/2411.02038): codes are a learned linear map of a frozen table.

    c_k = W e_k,   e_k ~ N(0, I / D) and never trained,   index = argmin_k |x - c_k|,   quantized = c_index forward
    loss = codebook * |sg[x] - c|^2 + commitment * |x - sg[c]|^2

Each step moves all codes, also those that no vector chose.
"""

import torch
from torch import Tensor, nn

from discrete_lightning.functional._checks import as_indices, check_finite
from discrete_lightning.functional._precision import float32, float32_matmul, without_autocast
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.functional.rotation_trick import rotate
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook
from discrete_lightning.vq.quantizers.nearest_code import Gradient


class SimVectorQuantizer(Float32State, Codebook):
    """Nearest-code quantiser whose codes are a learned linear map of random ones, so that they move together.

    D^2 parameters train any number of codes. Codes keep the shape of their Gaussian: where vectors have another one, many codes
    are far from all of them; VectorQuantizer and IndexBackpropagationQuantizer put each code where vectors are.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        codebook: weight of the loss that pulls codes to their vectors, >= 0.
        commitment: weight of the loss that pulls vectors to their codes, >= 0.
        gradient: "straight_through" or "rotation"; see VectorQuantizer.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = SimVectorQuantizer(num_codes=16, dim=8)
        >>> quantizer(torch.randn(100, 8)).loss.backward()
        >>> quantizer.weight.grad.shape, quantizer.codes.shape
        (torch.Size([8, 8]), torch.Size([16, 8]))
    """

    frozen_table: Tensor
    has_commitment_loss = True
    collapse_advice = "raise the learning rate of its linear map, or take IndexBackpropagationQuantizer"

    def __init__(
        self,
        num_codes: int,
        dim: int,
        codebook: float = 1.0,
        commitment: float = 0.25,
        gradient: Gradient = "straight_through",
    ) -> None:
        super().__init__(num_codes, dim)
        for name, weight in (("codebook", codebook), ("commitment", commitment)):
            if not weight >= 0:
                raise ValueError(f"SimVectorQuantizer: {name} must be >= 0, got {weight!r}")
        if gradient not in ("straight_through", "rotation"):
            raise ValueError(f"SimVectorQuantizer: gradient must be 'straight_through' or 'rotation', got {gradient!r}")
        self.codebook, self.commitment, self.gradient = codebook, commitment, gradient
        self.register_buffer("frozen_table", torch.empty(num_codes, dim, dtype=torch.float32))
        self.weight = nn.Parameter(torch.empty(dim, dim, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.frozen_table.normal_(std=self.dim**-0.5)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as in nn.Linear

    @property
    def codes(self) -> Tensor:
        """W e_k of all codes (K, D), with a gradient to W."""
        return self._map(self.frozen_table)

    @without_autocast
    @float32_matmul
    def _map(self, frozen: Tensor) -> Tensor:
        return frozen @ self.weight.t()

    def quantize(self, vectors: Tensor) -> Quantized:
        check_finite(vectors, "SimVectorQuantizer")
        x = float32(vectors)
        with torch.no_grad():
            indices = nearest_code(x, self.codes)
        codes = self.codes_of(indices).to(x.dtype)
        loss = self.codebook * commitment_loss(codes, x) + self.commitment * commitment_loss(x, codes)
        return Quantized(self.pass_gradient(codes, x).to(vectors.dtype), indices, loss)

    def codes_of(self, indices: Tensor) -> Tensor:
        return self._map(nn.functional.embedding(as_indices(indices), self.frozen_table))

    def pass_gradient(self, quantized: Tensor, vectors: Tensor) -> Tensor:
        return rotate(quantized, vectors) if self.gradient == "rotation" else super().pass_gradient(quantized, vectors)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gradient={self.gradient!r}"
