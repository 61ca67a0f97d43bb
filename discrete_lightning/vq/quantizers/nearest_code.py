"""What all nearest-code quantisers share: look-up, gradient, k-means start, and revival of codes that are rarely chosen.

index = argmin_k |x - c_k|,   quantized = c_index forward,   gradient of x backward: straight through, or turned with x
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import all_gather_equal, all_gather_rows, all_reduce_sum, broadcast_, world_size
from discrete_lightning.functional._checks import as_indices, host_number, values_can_be_read
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._torch_private import under_functorch
from discrete_lightning.vq.functional.commitment import commitment_loss
from discrete_lightning.vq.functional.ema import code_statistics, ema_update_
from discrete_lightning.vq.functional.kmeans import kmeans
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.functional.rotation_trick import rotate
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers.code_table import fingerprint
from discrete_lightning.vq.quantizers.code_window import CodeBatch, CodeWindow, evenly_spaced
from discrete_lightning.vq.quantizers.revival import sample_by_error
from discrete_lightning.vq.quantizers.updated_codebook import UpdatedCodebook

Distance = Literal["euclidean", "cosine"]
Gradient = Literal["straight_through", "rotation"]

_KMEANS_VECTORS_PER_CODE = 64
_CANDIDATES_PER_CODE = 4  # for revival: bounds the memory of many passes without a step


class NearestCodeQuantizer(UpdatedCodebook):
    """Base of VectorQuantizer (codes are moving averages) and LearnedVectorQuantizer (codes are parameters).

    A training pass collects how often each code was chosen, and the sum of its vectors, which are applied once after each step
    of the optimiser: see UpdatedCodebook. Codes and revival are computed from the vectors of all ranks, so codes are equal on
    all of them. A forward pass does not communicate: on several ranks the k-means start is that of each rank until the first
    update, which makes a common one.

    Attributes:
        codes: (K, D).
        counts: moving averages of how often each code was chosen (K,).
        started: whether the k-means start was made.
    """

    codes: Tensor
    counts: Tensor
    started: bool
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
        self.register_number("started", kmeans_iterations == 0)
        self._is_started_here = False  # on this rank alone
        self._drawn: int | None = None  # a fingerprint of the codes as they were drawn; None if there is none
        self._is_written: bool | None = None  # whether the first pass found other codes than those; None before it
        self._is_compared = False  # whether ranks agree on that

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, distance={self.distance!r}, gradient={self.gradient!r}"

    def _initial_codes(self) -> Tensor:
        return torch.randn(self.num_codes, self.dim, dtype=torch.float32) / self.dim**0.5

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.drop_pending()
        self.codes.copy_(self._initial_codes())
        self.counts.zero_()
        self.started, self._is_started_here = self.kmeans_iterations == 0, False
        self.updates.zero_()
        self._remember_drawn()

    def set_codes(self, codes: Tensor) -> None:
        """Sets the table, for good: the start on the first batch is left out, and training goes on from it.

        Until training shows otherwise, all codes count as used equally often: one that no vector chooses stays for about 20
        updates (`LearnedVectorQuantizer`: 200) before revival may move it, with `revive_below=0` for ever.

        Args:
            codes: (K, D), floating and finite.

        Raises:
            ValueError: if the codes are of another shape, not floating or not finite.
        """
        super().set_codes(codes)
        self._keep_codes()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._is_started_here = False
        if f"{prefix}codes" not in state_dict:
            return
        if f"{prefix}started" in state_dict:
            self._remember_drawn()
        else:  # a table alone
            self._keep_codes(f"{prefix}counts" in state_dict)

    @torch.no_grad()
    def _keep_codes(self, with_counts: bool = False) -> None:
        """The codes are someone's, who knows why: no start. Without their counts they count as used equally often."""
        self.drop_pending()
        self.started, self._is_compared = True, True
        self._count_evenly(torch.full((), with_counts, device=self.counts.device))

    def _count_evenly(self, counted: Tensor) -> None:
        """Counts of 1 unless `counted`, bool 0-dim; the first update scales them to the size of its batch."""
        self.counts.copy_(torch.where(counted, self.counts, 1.0))

    def _scale_counts(self, scale: Tensor) -> None:
        self.counts.mul_(scale)

    def _remember_drawn(self) -> None:
        self._drawn, self._is_written, self._is_compared = fingerprint(self.codes), None, False

    @torch.no_grad()
    def _keep_written_codes(self) -> None:
        """Codes that someone wrote before the first pass (`codes.copy_(table)`) are kept as those of `set_codes`.

        All ranks call it together. A wrapper that gives rank 0's codes to the others writes to theirs, not to its own.
        """
        here = 2 if self._is_written is None else int(self._is_written)
        least = all_gather_equal(torch.tensor(here, device=self.counts.device)).amin().item()
        self._is_compared = least < 2
        if least == 1:
            broadcast_(self.codes.data)
            self._keep_codes()

    def _table(self) -> Tensor:
        """The codes as they are compared and returned: of length 1 for the cosine distance."""
        return nn.functional.normalize(self.codes, dim=-1) if self.distance == "cosine" else self.codes

    def quantize(self, vectors: Tensor) -> Quantized:
        compared = vectors
        if self.distance == "cosine":
            compared = nn.functional.normalize(float32(vectors), dim=-1)
        learning = self.training and torch.is_grad_enabled() and not self.frozen
        if learning and under_functorch():
            raise RuntimeError(
                f"{type(self).__name__} collects statistics of a training pass, which torch.func (vmap, grad) cannot: call "
                "it in eval(), or freeze() it"
            )
        if learning:
            self._before_pass(compared)
        table = self._table()
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

    @torch.compiler.disable
    def _before_pass(self, vectors: Tensor) -> None:
        if self._is_written is None:
            self._is_written = self._drawn is not None and fingerprint(self.codes) not in (None, self._drawn)
        if world_size() == 1 and not self._is_compared:
            self._keep_written_codes()
        if self.started or self._is_started_here or self._is_written:
            return
        # without an update that follows, ranks that start alone would stay different
        if world_size() == 1 or self.bindings or self._was_updated:
            self._start(vectors)

    @torch.compiler.disable
    def _collect(
        self, quantized: Tensor, loss: Tensor, compared: Tensor, codes: Tensor, indices: Tensor
    ) -> tuple[Tensor, Tensor]:
        flat = compared.detach().reshape(-1, self.dim).float()
        counts, sums = code_statistics(flat, indices, self.num_codes)
        errors = (flat - codes.detach().reshape(flat.shape)).square().sum(-1)
        return self._counting(quantized, loss, CodeBatch(counts, sums, flat, errors, free=not compared.requires_grad))

    def _most_candidates(self) -> int:
        """How many vectors a window keeps for revival, or for the start."""
        if self.started:
            return _CANDIDATES_PER_CODE * self.num_codes
        return -(-_KMEANS_VECTORS_PER_CODE * self.num_codes // world_size())

    @torch.no_grad()
    def _apply_window(self, window: CodeWindow | None) -> None:
        if not self._is_compared:
            self._keep_written_codes()
        if world_size() > 1 and not self.started:
            self._start_together(window)
            return
        device = self.counts.device
        if window is None:
            batch, passes = CodeBatch.empty(self.num_codes, self.dim, device), 0
        else:
            batch, passes = window.batch, window.passes
        packed = all_reduce_sum(
            torch.cat(
                [
                    batch.counts,
                    batch.sums.flatten(),
                    torch.full((1,), float(passes), dtype=torch.float32, device=device),
                ]
            )
        )
        counts, sums = packed[: self.num_codes], packed[self.num_codes : -1].view(self.num_codes, self.dim)
        # an overflowing fp16 step is skipped by the scaler; its vectors must be, too
        valid = packed.isfinite().all() & (packed[-1] > 0)
        # of a table that was set, whose codes count as used equally often
        even = (self.counts.amin() == self.counts.amax()) & (self.counts.amin() > 0) & valid
        self._scale_counts(torch.where(even, counts.sum() / self.counts.sum().clamp_min(1e-30), 1.0))
        ema_update_(self.counts, torch.where(valid, counts, self.counts), self.decay)
        self._follow(sums, valid)
        self.updates += packed[-1] > 0
        if self.revive_below:
            mean = self.counts.sum() / self.num_codes
            dead = (self.counts < self.revive_below * mean) & valid
            if values_can_be_read(dead) and world_size() == 1 and not host_number(dead.any()):
                return
            found, rows = sample_by_error(batch.vectors, batch.errors, dead)
            self._place(found, rows, mean)  # their statistics become those of an average code

    def _follow(self, sums: Tensor, valid: Tensor) -> None:
        """Moves the codes to the vectors that chose them, if `valid`."""

    def _place(self, which: Tensor, vectors: Tensor, count: Tensor) -> None:
        """Moves the codes `which`, bool (K,), to their rows of `vectors` (K, D), as if each had been chosen `count` times."""
        self.codes.copy_(torch.where(which.unsqueeze(1), vectors, self.codes))
        self.counts.copy_(torch.where(which, count, self.counts))

    @torch.no_grad()
    def _start(self, vectors: Tensor) -> None:
        """k-means on the first batch of this process."""
        flat = vectors.detach().reshape(-1, self.dim).float()
        pool = flat[evenly_spaced(len(flat), self._most_candidates(), flat.device)]
        if len(pool):
            self._place_all(*self._kmeans(pool))
            self.started = world_size() == 1
            self._is_started_here = True

    def _start_together(self, window: CodeWindow | None) -> None:
        """k-means on the first batches of all ranks."""
        self._is_started_here = False
        flat = self.codes.new_zeros(0, self.dim) if window is None else window.batch.vectors
        pool = all_gather_rows(flat[evenly_spaced(len(flat), self._most_candidates(), flat.device)])
        if len(pool):
            # ranks on different hardware may round differently
            self._place_all(*(broadcast_(each) for each in self._kmeans(pool)))
            self.updates += 1
            self.started = True

    def _kmeans(self, pool: Tensor) -> tuple[Tensor, Tensor]:
        if not (finite := pool.isfinite().all(-1)).all():
            raise ValueError(
                f"{int((~finite).sum())} of {len(pool)} vectors are not finite in the first batch of a {type(self).__name__}"
            )
        generator = torch.Generator().manual_seed(self.seed * 1_000_003)
        return kmeans(pool, self.num_codes, iterations=self.kmeans_iterations, generator=generator)

    def _place_all(self, codes: Tensor, counts: Tensor) -> None:
        self._place(torch.ones(self.num_codes, dtype=torch.bool, device=codes.device), codes, counts)
