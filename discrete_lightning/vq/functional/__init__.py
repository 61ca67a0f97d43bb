"""Functions of codebooks: torch only, no state. One method a file, the paper first."""

from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.functional.ema import code_statistics, codes_from_statistics, ema_update_
from discrete_lightning.vq.functional.finite_scalar import (
    FiniteScalar,
    check_levels,
    finite_scalar,
    finite_scalar_decode,
    finite_scalar_residual,
)
from discrete_lightning.vq.functional.kmeans import kmeans
from discrete_lightning.vq.functional.lookup_free import lookup_free, lookup_free_decode, soft_code_marginals
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.functional.rotation_trick import rotate

__all__ = [
    "FiniteScalar",
    "check_levels",
    "code_statistics",
    "codes_from_statistics",
    "commitment_loss",
    "ema_update_",
    "finite_scalar",
    "finite_scalar_decode",
    "finite_scalar_residual",
    "kmeans",
    "lookup_free",
    "lookup_free_decode",
    "nearest_code",
    "rotate",
    "soft_code_marginals",
]
