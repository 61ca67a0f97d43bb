"""What all nearest-code quantisers share: look-up and gradient.

index = argmin_k |x - c_k|,   quantized = c_index forward,   gradient of x backward: straight through, or turned with x
"""

from typing import Any, Literal

from torch import Tensor, nn

from discrete_lightning.functional._checks import as_indices
from discrete_lightning.functional._precision import float32
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.functional.rotation_trick import rotate
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.started_codebook import StartedCodebook

Distance = Literal["euclidean", "cosine"]
Gradient = Literal["straight_through", "rotation"]


class NearestCodeQuantizer(StartedCodebook):
    """Base of VectorQuantizer (codes are moving averages) and LearnedVectorQuantizer (codes are parameters)."""

    has_commitment_loss = True

    def __init__(
        self,
        num_codes: int,
        dim: int,
        *,
        commitment: float,
        distance: Distance,
        gradient: Gradient,
        **start: Any,
    ) -> None:
        super().__init__(num_codes, dim, **start)
        self._check(commitment, commitment >= 0, "commitment", ">= 0")
        self._check(distance, distance in ("euclidean", "cosine"), "distance", "'euclidean' or 'cosine'")
        self._check(
            gradient, gradient in ("straight_through", "rotation"), "gradient", "'straight_through' or 'rotation'"
        )
        self.commitment, self.distance, self.gradient = commitment, distance, gradient

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, distance={self.distance!r}, gradient={self.gradient!r}"

    def _table(self) -> Tensor:
        """The codes as they are compared and returned: of length 1 for the cosine distance."""
        return nn.functional.normalize(self.codes, dim=-1) if self.distance == "cosine" else self.codes

    def _compared(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(float32(vectors), dim=-1) if self.distance == "cosine" else vectors

    def look_up(self, vectors: Tensor) -> Tensor:
        """The indices (...) of the codes nearest to vectors (..., dim); no pass of training."""
        return nearest_code(self._compared(vectors), self._table())

    def forward(self, vectors: Tensor, mask: Tensor | None = None, indices: Tensor | None = None) -> Quantized:
        """Quantises vectors, see `Quantizer.forward`.

        Args:
            vectors: shape (..., dim).
            mask: see there.
            indices: (...), instead of a mask: the codes to take, chosen by a search over several stages.
        """
        if indices is None:
            return super().forward(vectors, mask)
        self._check_vectors(vectors)
        return self.quantize(vectors, indices)

    def quantize(self, vectors: Tensor, indices: Tensor | None = None) -> Quantized:
        compared = self._compared(vectors)
        learning = self._is_learning()
        if learning:
            self._before_pass(compared)
        table = self._table()
        if indices is None:
            indices = nearest_code(compared, table)
        codes = nn.functional.embedding(indices, table)
        loss = self._loss(compared, codes)
        quantized = self.pass_gradient(codes.to(compared.dtype), compared).to(vectors.dtype)
        if learning and self.collects:
            quantized, loss = self._collect(quantized, loss, compared, codes, indices)
        return Quantized(quantized, indices, loss)

    def codes_of(self, indices: Tensor) -> Tensor:
        return nn.functional.embedding(as_indices(indices), self._table())

    def pass_gradient(self, quantized: Tensor, vectors: Tensor) -> Tensor:
        return rotate(quantized, vectors) if self.gradient == "rotation" else super().pass_gradient(quantized, vectors)

    def _loss(self, vectors: Tensor, codes: Tensor) -> Tensor:
        return self.commitment * commitment_loss(vectors, codes)
