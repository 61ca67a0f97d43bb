"""What callbacks and functions of this package ask of a user's module: Protocols, checked by `isinstance`.

A module offers a capability by having the method. What is used without being asked for has a long name, so that a method
which a module has for reasons of its own is left alone.
"""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class ReconstructsImages(Protocol):
    """Offers pictures of reconstructions to the callback `Reconstructions`."""

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1], and what the model makes of them, of the same shape."""


@runtime_checkable
class DecodesIndices(Protocol):
    """Offers images of codes to `CodebookMonitor` and to the command `decode`."""

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Codes, int64 (B, h, w, ...), to images (B, C, H, W) in [0, 1]."""


@runtime_checkable
class EnumeratesLoss(Protocol):
    """Offers the exact gradient to `GradientProbe`, for models of few states."""

    def enumerate_loss(self, batch: Any) -> tuple[Any, Tensor, Any]:
        """(layer, its logits (B, *event), function from samples (..., B, *event) to losses (..., B))."""
