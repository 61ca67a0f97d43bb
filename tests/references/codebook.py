"""Vector quantisation one vector at a time, in float64."""

import torch
from torch import Tensor


def squared_distances(vectors: Tensor, codes: Tensor) -> Tensor:
    """(N, D) and (K, D) to (N, K), from the differences themselves."""
    return torch.stack([((codes.double() - vector.double()) ** 2).sum(-1) for vector in vectors])


def nearest(vectors: Tensor, codes: Tensor) -> Tensor:
    return squared_distances(vectors, codes).argmin(-1)


def statistics(vectors: Tensor, indices: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    counts = torch.zeros(num_codes, dtype=torch.float64)
    sums = torch.zeros(num_codes, vectors.shape[-1], dtype=torch.float64)
    for vector, index in zip(vectors, indices.tolist(), strict=True):
        counts[index] += 1
        sums[index] += vector.double()
    return counts, sums


def inertia(vectors: Tensor, centres: Tensor) -> float:
    """What k-means minimises: the sum of squared distances to the nearest centre."""
    return float(squared_distances(vectors, centres).amin(-1).sum())
