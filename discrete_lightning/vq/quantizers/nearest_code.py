"""What all nearest-code quantisers share: look-up, gradient, k-means start, and revival of codes that are rarely chosen.

index = argmin_k |x - c_k|,   quantized = c_index forward,   gradient of x backward: straight through, or turned with x
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import all_gather_rows, all_reduce_sum, broadcast_, rank, world_size
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.vq.after_step import call_after_step
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.functional.ema import code_statistics, ema_update_
from discrete_lightning.vq.functional.kmeans import kmeans
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.functional.rotation_trick import rotate
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook

Distance = Literal["euclidean", "cosine"]
Gradient = Literal["straight_through", "rotation"]

_FORGOTTEN = 1000  # batches without a step of a torch optimiser after which something is wrong
_KMEANS_VECTORS_PER_CODE = 64
_MOST_CANDIDATES = 4  # for revival, a code: bounds the memory of many passes without a step


@dataclass
class _Batch:
    """Statistics of one forward pass; `counted` keeps a second backward pass from adding them again."""

    counts: Tensor
    sums: Tensor
    vectors: Tensor
    errors: Tensor  # squared distance of each vector to its code
    counted: bool = False


@dataclass
class _Pending:
    """Statistics since the last update. Plain attributes, not buffers: DDP's broadcast must not overwrite them."""

    batches: list[_Batch] = field(default_factory=list)
    count: int = 0

    def add(self, batch: _Batch) -> None:
        self.count += 1
        if self.batches:  # under accumulation: one sum, and vectors of each batch
            before, most = self.batches[0], _MOST_CANDIDATES * len(batch.counts)
            batch.counts, batch.sums = batch.counts + before.counts, batch.sums + before.sums
            batch.vectors = torch.cat([before.vectors, batch.vectors])
            batch.errors = torch.cat([before.errors, batch.errors])
            if len(batch.vectors) > most:
                kept = _spread(len(batch.vectors), most, batch.vectors.device)
                batch.vectors, batch.errors = batch.vectors[kept], batch.errors[kept]
        self.batches = [batch]


def _spread(length: int, count: int, device: torch.device) -> Tensor:
    """`count` of `length` positions, evenly spaced."""
    return torch.arange(count, device=device) * length // count


class NearestCodeQuantizer(Float32State, Codebook):
    """Base of VectorQuantizer (codes are moving averages) and LearnedVectorQuantizer (codes are parameters).

    A training pass collects how often each code was chosen, and the sum of its vectors. The next step of a torch optimiser
    applies what was collected, by `update()`; without a torch optimiser call `update()` yourself.

    - A pass counts once its backward pass reaches the output, or at once if the vectors need no gradient. A pass under
      `no_grad`, and one that activation checkpointing repeats, does not count; passes between two steps count as one batch.
      Inside a ResidualQuantizer only the loss is reached: without `loss` in the training loss its codes do not move.
    - The step of any torch optimiser in the process applies what was collected until then, also one that trains another
      model.
    - Start, codes and revival are computed from the vectors of all ranks, with a generator that all ranks share, so codes
      are equal on all ranks. `update()` communicates: in each step a pass must count on all ranks or on none. A rank whose
      batch is empty, or completely masked, takes part as long as its loss uses the output.
    """

    codes: Tensor
    counts: Tensor
    started: Tensor
    updates: Tensor
    has_commitment_loss = True
    collapse_advice = "raise revive_below, keep kmeans_iterations > 0, or lower the learning rate"

    def __init__(
        self,
        num_codes: int,
        dim: int,
        decay: float,
        commitment: float,
        revive_below: float,
        kmeans_iterations: int,
        distance: Distance,
        gradient: Gradient,
        seed: int,
    ) -> None:
        super().__init__(num_codes, dim)
        for name, value, allowed, rule in (
            ("decay", decay, 0 <= decay < 1, "in [0, 1)"),
            ("commitment", commitment, commitment >= 0, ">= 0"),
            ("revive_below", revive_below, 0 <= revive_below < 1, "in [0, 1)"),
            ("kmeans_iterations", kmeans_iterations, kmeans_iterations >= 0, ">= 0"),
            ("distance", distance, distance in ("euclidean", "cosine"), "'euclidean' or 'cosine'"),
            ("gradient", gradient, gradient in ("straight_through", "rotation"), "'straight_through' or 'rotation'"),
        ):
            if not allowed:
                raise ValueError(f"{type(self).__name__}: {name} must be {rule}, got {value!r}")
        self.decay, self.commitment, self.revive_below = decay, commitment, revive_below
        self.kmeans_iterations, self.seed = kmeans_iterations, seed
        self.distance, self.gradient = distance, gradient
        self.register_buffer("counts", torch.zeros(num_codes, dtype=torch.float32))
        self.register_buffer("started", torch.tensor(kmeans_iterations == 0))
        self.register_buffer("updates", torch.tensor(0, dtype=torch.int64))
        self._pending = _Pending()

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, distance={self.distance!r}, gradient={self.gradient!r}"

    def _initial_codes(self) -> Tensor:
        return torch.randn(self.num_codes, self.dim, dtype=torch.float32) / self.dim**0.5

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.codes.copy_(self._initial_codes())
        self.counts.zero_()
        self.started.fill_(self.kmeans_iterations == 0)
        self.updates.zero_()
        self._pending = _Pending()

    def _table(self) -> Tensor:
        """The codes as they are compared and returned: of length 1 for the cosine distance."""
        return nn.functional.normalize(self.codes, dim=-1) if self.distance == "cosine" else self.codes

    def quantize(self, vectors: Tensor) -> Quantized:
        compared = vectors
        if self.distance == "cosine":
            compared = nn.functional.normalize(float32(vectors), dim=-1)
        learning = self.training and torch.is_grad_enabled()
        if learning and not self.started:
            self._start(compared)
        table = self._table()
        indices = nearest_code(compared, table)
        codes = nn.functional.embedding(indices, table)
        loss = self._loss(compared, codes)
        quantized = self.pass_gradient(codes.to(compared.dtype), compared).to(vectors.dtype)
        if learning:
            quantized, loss = self._collect(quantized, loss, compared, codes, indices)
        return Quantized(quantized, indices, loss)

    def codes_of(self, indices: Tensor) -> Tensor:
        return nn.functional.embedding(indices, self._table())

    def pass_gradient(self, quantized: Tensor, vectors: Tensor) -> Tensor:
        return rotate(quantized, vectors) if self.gradient == "rotation" else super().pass_gradient(quantized, vectors)

    def _loss(self, vectors: Tensor, codes: Tensor) -> Tensor:
        return self.commitment * commitment_loss(vectors, codes)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._pending = _Pending()  # statistics of other codes

    @torch.compiler.disable
    def _collect(
        self, quantized: Tensor, loss: Tensor, compared: Tensor, codes: Tensor, indices: Tensor
    ) -> tuple[Tensor, Tensor]:
        flat = compared.detach().reshape(-1, self.dim).float()
        counts, sums = code_statistics(flat, indices, self.num_codes)
        errors = (flat - codes.detach().reshape(flat.shape)).square().sum(-1)
        batch = _Batch(counts, sums, flat, errors)

        def count(_: Tensor | None) -> None:
            if not batch.counted:
                batch.counted = True
                self._pending.add(batch)
                call_after_step(self)
                self._warn_if_forgotten()

        # Counting in the backward pass makes a recomputed forward (activation checkpointing) add nothing. The hooks are on the
        # outputs: in a compiled graph the gradient goes from the outputs to the graph's inputs and meets nothing between them.
        if not compared.requires_grad:
            count(None)
            return quantized, loss
        outputs = quantized.view_as(quantized), loss.view_as(loss)  # tensors that belong to this layer
        for each in outputs:
            if each.requires_grad:
                each.register_hook(count)
        return outputs

    def _warn_if_forgotten(self) -> None:
        if self._pending.count == _FORGOTTEN:
            warnings.warn(
                f"{type(self).__name__} collected {_FORGOTTEN} batches and saw no step of a torch optimiser: its codes do "
                "not move; call quantizer.update() after each step of your optimiser",
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
        self._follow(sums, finite)
        self.updates += 1
        if self.revive_below:
            self._revive(batch.vectors, batch.errors, finite)

    def _follow(self, sums: Tensor, finite: Tensor) -> None:
        """Moves the codes to the vectors that chose them."""

    def _place(self, which: Tensor, vectors: Tensor, count: Tensor) -> None:
        """Moves the codes `which` (n,) to `vectors` (n, D), as if each had been chosen `count` times."""
        self.codes[which] = vectors
        self.counts[which] = count

    def _revive(self, vectors: Tensor, errors: Tensor, finite: Tensor) -> None:
        """Moves rarely chosen codes to vectors that the codes fit badly; their statistics become those of an average code.

        Vectors are taken with a probability in proportion to their error, as k-means++ does (Arthur and Vassilvitskii 2007),
        by systematic sampling over all ranks: one grid over the running sum of errors, in which each rank finds its own part.
        """
        mean = self.counts.sum() / self.num_codes
        dead = ((self.counts < self.revive_below * mean) & finite).nonzero().squeeze(1)  # equal on all ranks
        if not len(dead):
            return
        running = errors.double().cumsum(0)
        totals = all_gather_rows(running[-1:] if len(running) else running.new_zeros(1))
        total, start = totals.sum(), totals[: rank()].sum()
        points = (torch.arange(len(dead), device=errors.device) + 0.5) * (total / len(dead)) - start
        mine = points[(points >= 0) & (points < totals[rank()])]
        chosen = torch.searchsorted(running, mine, right=True).clamp_max(max(0, len(running) - 1)).unique()
        pool = all_gather_rows(vectors[chosen])
        self._place(dead[: len(pool)], pool, mean)  # a vector of a large error is taken once: the rest next time

    @torch.no_grad()
    @torch.compiler.disable
    def _start(self, vectors: Tensor) -> None:
        """k-means on the first batch of all ranks."""
        flat = vectors.detach().reshape(-1, self.dim).float()
        limit = -(-_KMEANS_VECTORS_PER_CODE * self.num_codes // world_size())
        pool = all_gather_rows(flat[_spread(len(flat), limit, flat.device)] if len(flat) > limit else flat)
        if not len(pool):
            return
        if not (finite := pool.isfinite().all(-1)).all():
            raise ValueError(
                f"{int((~finite).sum())} of {len(pool)} vectors are not finite in the first batch of a {type(self).__name__}"
            )
        codes, counts = kmeans(
            pool, self.num_codes, iterations=self.kmeans_iterations, generator=self._shared_generator()
        )
        # ranks on different hardware may round differently
        self._place(torch.arange(self.num_codes, device=codes.device), broadcast_(codes), broadcast_(counts))
        self.started.fill_(True)

    def _shared_generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.updates))
