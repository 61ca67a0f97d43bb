"""Vector quantisation with codes that are moving averages (van den Oord et al. 2017, appendix A.1;
https://arxiv.org/abs/1711.00937).

    index = argmin_k |x - c_k|,   quantized = c_index forward, gradient of x backward,   loss = commitment * |x - sg[c]|^2
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import all_gather_rows, all_reduce_sum, broadcast_, world_size
from discrete_lightning.functional import (
    code_statistics,
    codes_from_statistics,
    commitment_loss,
    ema_update_,
    kmeans,
    nearest_code,
)
from discrete_lightning.functional import straight_through as _straight_through
from discrete_lightning.nn._after_step import call_after_step
from discrete_lightning.nn._float32 import Float32State
from discrete_lightning.nn.codebook import Codebook, Quantized

_FORGOTTEN = 1000  # batches without a step of a torch optimiser after which something is wrong
_KMEANS_VECTORS_PER_CODE = 64
_MOST_CANDIDATES = 4  # for revival, a code: bounds the memory of many passes without a step


@dataclass
class _Batch:
    """Statistics of one forward pass, counted once whatever happens to its graph."""

    counts: Tensor
    sums: Tensor
    candidates: Tensor
    counted: bool = False


@dataclass
class _Pending:
    """Statistics since the last update. Plain attributes, not buffers: DDP's broadcast must not overwrite them."""

    batches: list[_Batch] = field(default_factory=list)
    count: int = 0

    def add(self, batch: _Batch) -> None:
        self.count += 1
        if self.batches:  # under accumulation: one sum, and the candidates of each batch
            batch.counts, batch.sums = batch.counts + self.batches[0].counts, batch.sums + self.batches[0].sums
            candidates = torch.cat([self.batches[0].candidates, batch.candidates])
            most = _MOST_CANDIDATES * len(batch.counts)
            batch.candidates = _spread(candidates, most) if len(candidates) > most else candidates
        self.batches = [batch]


def _spread(vectors: Tensor, count: int) -> Tensor:
    """`count` of the vectors, evenly spaced; some twice if there are fewer."""
    positions = torch.arange(count, device=vectors.device) * len(vectors) // count
    return vectors[positions]


class VectorQuantizer(Float32State, Codebook):
    """Nearest-code quantiser whose codes follow the vectors that chose them, with k-means start and revival of dead codes.

    Statistics are collected in training passes and applied once after each step of a torch optimiser: right under
    gradient accumulation and activation checkpointing, with no callback, in plain PyTorch too. A pass counts when its
    backward pass reaches the quantiser (at once if the vectors need no gradient); passes under `no_grad` do not count.
    Without a torch optimiser call `update()` yourself. Codes are computed from statistics summed over all ranks, and start
    and revival draw from a generator that all ranks share, so codebooks are equal everywhere.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        decay: of the moving averages per optimiser step, in [0, 1).
        commitment: weight of the commitment loss, >= 0.
        revive_below: a code chosen less than this share of the mean count is moved to a recent vector; 0 turns it off.
        kmeans_iterations: of the start on the first training batch; 0 keeps the random start.
        seed: of the generator for start and revival.

    Raises:
        ValueError: if an argument is out of range; in forward, if vectors are not finite or of another dimension.

    Example:
        >>> quantizer = VectorQuantizer(num_codes=16, dim=8)
        >>> result = quantizer(torch.randn(2, 7, 7, 8))
        >>> result.quantized.shape, result.indices.shape
        (torch.Size([2, 7, 7, 8]), torch.Size([2, 7, 7]))
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor
    updates: Tensor

    def __init__(
        self,
        num_codes: int,
        dim: int,
        decay: float = 0.99,
        commitment: float = 0.25,
        revive_below: float = 0.1,
        kmeans_iterations: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(num_codes, dim)
        for name, value, allowed, rule in (
            ("decay", decay, 0 <= decay < 1, "in [0, 1)"),
            ("commitment", commitment, commitment >= 0, ">= 0"),
            ("revive_below", revive_below, 0 <= revive_below < 1, "in [0, 1)"),
            ("kmeans_iterations", kmeans_iterations, kmeans_iterations >= 0, ">= 0"),
        ):
            if not allowed:
                raise ValueError(f"VectorQuantizer: {name} must be {rule}, got {value}")
        self.decay, self.commitment, self.revive_below = decay, commitment, revive_below
        self.kmeans_iterations, self.seed = kmeans_iterations, seed
        codes = torch.randn(num_codes, dim, dtype=torch.float32) / dim**0.5
        self.register_buffer("codes", codes)
        self.register_buffer("counts", torch.zeros(num_codes, dtype=torch.float32))
        self.register_buffer("sums", torch.zeros(num_codes, dim, dtype=torch.float32))
        self.register_buffer("started", torch.tensor(kmeans_iterations == 0))
        self.register_buffer("updates", torch.tensor(0, dtype=torch.int64))
        self._pending = _Pending()

    def forward(self, vectors: Tensor) -> Quantized:
        self._check_input(vectors)
        vectors = vectors.view_as(vectors)  # a tensor of this layer's own: its gradient tells that the batch counts
        learning = self.training and torch.is_grad_enabled()
        if learning and not self.started:
            self._start(vectors)
        indices = nearest_code(vectors, self.codes)
        codes = self.decode(indices)
        loss = self.commitment * commitment_loss(vectors, codes)
        quantized = _straight_through(codes.to(vectors.dtype), vectors)
        if learning:
            self._collect(vectors, indices)
        return Quantized(quantized, indices, loss)

    def decode(self, indices: Tensor) -> Tensor:
        return nn.functional.embedding(indices, self.codes)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._pending = _Pending()  # statistics of other codes

    @torch.compiler.disable
    def _collect(self, vectors: Tensor, indices: Tensor) -> None:
        flat = vectors.detach().reshape(-1, self.dim).float()
        counts, sums = code_statistics(flat, indices, self.num_codes)
        batch = _Batch(counts, sums, _spread(flat, self._candidates_per_rank()) if len(flat) else flat)

        def count(_: Tensor | None) -> None:
            if not batch.counted:
                batch.counted = True
                self._pending.add(batch)
                call_after_step(self)
                self._warn_if_forgotten()

        # Counting in the backward pass makes a recomputed forward (activation checkpointing) add nothing.
        if vectors.requires_grad:
            vectors.register_hook(count)
        else:
            count(None)

    def _candidates_per_rank(self) -> int:
        return -(-self.num_codes // world_size())

    def _warn_if_forgotten(self) -> None:
        if self._pending.count == _FORGOTTEN:
            warnings.warn(
                f"VectorQuantizer collected {_FORGOTTEN} batches and saw no step of a torch optimiser: its codes stand still; "
                "call quantizer.update() after each step of your optimiser",
                stacklevel=2,
            )

    @torch.no_grad()
    def update(self) -> None:
        """Applies the statistics collected since the last update to the codes. Does nothing if there are none.

        Called after each step of a torch optimiser. It communicates: all ranks call it together.
        """
        pending, self._pending = self._pending, _Pending()
        if not pending.batches:
            return
        batch = pending.batches[0]
        packed = all_reduce_sum(torch.cat([batch.counts.unsqueeze(1), batch.sums], 1))
        counts, sums = packed[:, 0], packed[:, 1:]
        finite = packed.isfinite().all()  # an overflowing fp16 step is skipped by the scaler; its vectors must be, too
        ema_update_(self.counts, torch.where(finite, counts, self.counts), self.decay)
        ema_update_(self.sums, torch.where(finite, sums, self.sums), self.decay)
        self.codes.copy_(codes_from_statistics(self.counts, self.sums, self.codes))
        self.updates += 1
        if self.revive_below:
            self._revive(batch.candidates, finite)

    def _revive(self, candidates: Tensor, finite: Tensor) -> None:
        """Moves rarely chosen codes to recent vectors, of all ranks; their statistics become those of an average code."""
        mean = self.counts.sum() / self.num_codes
        dead = ((self.counts < self.revive_below * mean) & finite).nonzero().squeeze(1)  # equal on all ranks
        if not len(dead):
            return
        pool = all_gather_rows(_spread(candidates, self._candidates_per_rank()) if len(candidates) else candidates)
        order = torch.randperm(len(pool), generator=self._shared_generator())[: len(dead)]
        dead = dead[: len(order)]  # ranks with few vectors: the rest next time
        vectors = pool[order.to(pool.device)]
        self.codes[dead] = vectors
        self.counts[dead] = mean
        self.sums[dead] = vectors * mean

    @torch.no_grad()
    @torch.compiler.disable
    def _start(self, vectors: Tensor) -> None:
        """k-means on the first batch of all ranks."""
        flat = vectors.detach().reshape(-1, self.dim).float()
        limit = -(-_KMEANS_VECTORS_PER_CODE * self.num_codes // world_size())
        pool = all_gather_rows(_spread(flat, limit) if len(flat) > limit else flat)
        if not len(pool):
            return
        if not (finite := pool.isfinite().all(-1)).all():
            raise ValueError(
                f"{int((~finite).sum())} of {len(pool)} vectors are not finite in the first batch of a VectorQuantizer"
            )
        codes, counts = kmeans(
            pool, self.num_codes, iterations=self.kmeans_iterations, generator=self._shared_generator()
        )
        self.codes.copy_(broadcast_(codes))  # ranks on different hardware may round differently
        self.counts.copy_(broadcast_(counts))
        self.sums.copy_(self.codes * self.counts.unsqueeze(1))
        self.started.fill_(True)

    def _shared_generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.updates))
