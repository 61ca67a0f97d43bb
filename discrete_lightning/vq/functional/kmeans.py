"""Lloyd's k-means, for starting a codebook where the data are."""

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating
from discrete_lightning.vq.functional.ema import code_statistics
from discrete_lightning.vq.functional.nearest_code import nearest_code


@torch.no_grad()
def kmeans(
    vectors: Tensor, num_codes: int, *, iterations: int = 10, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Centres of `num_codes` clusters, started from distinct random vectors; an empty cluster takes a random vector.

    Args:
        vectors: shape (N, D), N >= 1; with N < num_codes some centres repeat a vector with a small jitter, and none is moved.
        num_codes: K.
        iterations: of Lloyd's algorithm.
        generator: a CPU generator: the result is the same on every device that draws from an equal one.

    Returns:
        centres (K, D) and the number of vectors of each (K,), float32.

    Example:
        >>> centres, counts = kmeans(torch.tensor([[0.0], [0.1], [5.0], [5.1]]), 2, generator=torch.Generator().manual_seed(0))
        >>> sorted(round(c, 2) for c in centres.flatten().tolist()), counts.tolist()
        ([0.05, 5.05], [2.0, 2.0])
    """
    check_floating(vectors, "vectors")
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"k-means needs vectors of shape (N, D) with N >= 1, got {tuple(vectors.shape)}")
    vectors = vectors.float()

    def draw(count: int, fresh: int) -> Tensor:
        """Random vectors, all but the first `fresh` with a small jitter, so that repeated ones can be told apart."""
        order = torch.cat(
            [torch.randperm(len(vectors), generator=generator) for _ in range(-(-count // len(vectors)))]
        )[:count]
        picked = vectors[order.to(vectors.device)]
        jitter = (
            torch.randn(picked.shape, generator=generator, dtype=torch.float32).to(vectors.device)
            * 1e-3
            * vectors.std(0, correction=0)
        )
        jitter[:fresh] = 0
        return picked + jitter

    centres = draw(num_codes, len(vectors))
    counts = vectors.new_zeros(num_codes)
    for _ in range(iterations if len(vectors) >= num_codes else 0):  # each vector has a centre of its own
        counts, sums = code_statistics(vectors, nearest_code(vectors, centres), num_codes)
        empty = (counts == 0).nonzero().squeeze(1)
        centres = sums / counts.clamp_min(1.0).unsqueeze(-1)
        if len(empty):
            centres[empty] = draw(len(empty), 0)
    counts, _ = code_statistics(vectors, nearest_code(vectors, centres), num_codes)
    return centres, counts
