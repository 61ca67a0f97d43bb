"""Nearest-code look-up of vector quantisation (van den Oord et al. 2017, eq. 1; https://arxiv.org/abs/1711.00937)."""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_finite, host_number, values_can_be_read
from discrete_lightning.functional._precision import addmm_float32, float32, float32_matmul, without_autocast
from discrete_lightning.vq.functional.code_cells import CodeCells

_BLOCK = 1 << 22  # distances held at a time (16 MiB of float32): N x K is never built whole
_MANY = 1 << 13  # codes from which on the CPU those are left out that cannot be nearest


@without_autocast
@float32_matmul
@torch.no_grad()
def nearest_code(vectors: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code in Euclidean distance: argmin_k |x - c_k|^2 = argmin_k |c_k|^2 - 2 x.c_k.

    Distances are float32 under every precision, autocast and TF32 included, and are computed in blocks of vectors. From 8,192
    codes on, and for many vectors, the CPU leaves out codes that cannot be nearest (`CodeCells`): the same result, sooner.

    Args:
        vectors: shape (..., D).
        codes: shape (K, D).

    Returns:
        int64 indices of shape (...). No gradient.

    Raises:
        ValueError: if the dimensions differ, or vectors are not finite (their number is named).

    Example:
        >>> nearest_code(torch.tensor([[0.9], [-3.0]]), torch.tensor([[-1.0], [1.0]]))
        tensor([1, 0])
    """
    if codes.ndim != 2 or vectors.shape[-1] != codes.shape[-1]:
        raise ValueError(
            f"vectors must have the codes' dimension last: vectors {tuple(vectors.shape)}, codes {tuple(codes.shape)}"
        )
    flat, table = float32(vectors.detach()).reshape(-1, codes.shape[1]), codes.detach()
    table = table.to(flat.dtype)
    # |c|^2 - 2 x.c loses all digits far from the origin: distances do not change when both sides move
    centre = table.mean(0)
    flat, table = flat - centre, table - centre
    if has_cells(flat, table) and flat.isfinite().all() and table.isfinite().all():
        return CodeCells(table).nearest(flat).view(vectors.shape[:-1])
    bias, transposed = table.square().sum(-1), table.t()
    if torch.compiler.is_compiling():  # one product: exported graphs keep a dynamic number of vectors
        return addmm_float32(bias, flat, transposed, alpha=-2.0).argmin(-1).view(vectors.shape[:-1])
    rows = max(1, _BLOCK // max(1, codes.shape[0]))
    blocks = [addmm_float32(bias, block, transposed, alpha=-2.0).min(-1) for block in flat.split(rows)]
    index = torch.cat([block.indices for block in blocks])
    if values_can_be_read(flat) and not all(host_number(block.values.isfinite().all()) for block in blocks):
        check_finite(vectors, "nearest_code")
        broken = int((~table.isfinite()).any(-1).sum())
        raise ValueError(f"{broken} of {len(table)} codes are not finite, or too large for distances in {table.dtype}")
    return index.view(vectors.shape[:-1])


def has_cells(vectors: Tensor, table: Tensor) -> bool:
    """Whether sorting these codes (K, D) into cells takes less time than it saves for these vectors (N, D)."""
    few = len(table) < _MANY or len(vectors) < 4 * len(table) ** 0.5
    return (
        not few and vectors.device.type == "cpu" and not torch.compiler.is_compiling() and values_can_be_read(vectors)
    )
