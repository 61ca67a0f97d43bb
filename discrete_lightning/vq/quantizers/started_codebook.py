"""A codebook that starts on the first batch, by k-means, and moves codes that are rarely chosen to where they are needed.

The statistics that both need are collected in training passes, and applied once after each step: see `updated_codebook`.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from discrete_lightning.distributed import all_gather_equal, all_gather_rows, all_reduce_sum, broadcast_, world_size
from discrete_lightning.functional._checks import host_number, values_can_be_read
from discrete_lightning.functional._torch_private import under_functorch
from discrete_lightning.vq.functional.ema import code_statistics, ema_update_
from discrete_lightning.vq.functional.kmeans import kmeans
from discrete_lightning.vq.quantizers.code_table import fingerprint
from discrete_lightning.vq.quantizers.code_window import CodeBatch, CodeWindow, evenly_spaced
from discrete_lightning.vq.quantizers.revival import sample_by_error
from discrete_lightning.vq.quantizers.updated_codebook import UpdatedCodebook

_KMEANS_VECTORS_PER_CODE = 64
_CANDIDATES_PER_CODE = 4  # for revival: bounds the memory of many passes without a step


class StartedCodebook(UpdatedCodebook):
    """Base of the codebooks whose codes lie among the vectors: those of the nearest code, and sampled ones.

    A training pass collects how often each code was chosen, and the sum of its vectors, which are applied once after each step
    of the optimiser: see UpdatedCodebook. Codes and revival are computed from the vectors of all ranks, so codes are equal on
    all of them. A forward pass does not communicate: on several ranks the k-means start is that of each rank until the first
    update, which makes a common one.

    Args:
        num_codes: K >= 2.
        dim: dimension D of vectors and codes.
        decay: of the counts per optimiser step, in [0, 1).
        revive_below: a code chosen less than this share of the mean count is moved to a vector that codes fit badly; 0: never.
        kmeans_iterations: of the start on the first training batch; 0 keeps the random start.
        seed: of the generator for the start.

    Attributes:
        codes: (K, D).
        counts: moving averages of how often each code was chosen (K,).
        started: whether the k-means start was made.
    """

    counts: Tensor
    started: bool
    _number_of_totals: ClassVar[int] = 0
    collapse_advice = "raise revive_below, keep kmeans_iterations > 0, or lower the learning rate"

    def __init__(
        self, num_codes: int, dim: int, *, decay: float, revive_below: float, kmeans_iterations: int, seed: int
    ) -> None:
        super().__init__(num_codes, dim)
        self._check(decay, 0 <= decay < 1, "decay", "in [0, 1)")
        self._check(revive_below, 0 <= revive_below < 1, "revive_below", "in [0, 1)")
        self._check(kmeans_iterations, kmeans_iterations >= 0, "kmeans_iterations", ">= 0")
        self.decay, self.revive_below = decay, revive_below
        self.kmeans_iterations, self.seed = kmeans_iterations, seed
        self.register_buffer("counts", torch.zeros(num_codes, dtype=torch.float32))
        self.register_number("started", kmeans_iterations == 0)
        self._is_started_here = False  # on this rank alone
        self._drawn: int | None = None  # a fingerprint of the codes as they were drawn; None if there is none
        self._is_written: bool | None = None  # whether the first pass found other codes than those; None before it
        self._is_compared = False  # whether ranks agree on that

    def _check(self, value: object, allowed: bool, name: str, rule: str) -> None:
        if not allowed:
            raise ValueError(f"{type(self).__name__}: {name} must be {rule}, got {value!r}")

    def _initial_codes(self) -> Tensor:
        return torch.randn(self.num_codes, self.dim, dtype=torch.float32) / self.dim**0.5

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.drop_pending()
        for each in self.buffers(recurse=False):  # statistics
            each.zero_()
        self.codes.copy_(self._initial_codes())
        self.started, self._is_started_here = self.kmeans_iterations == 0, False
        self.updates.zero_()
        self._remember_drawn()

    def set_codes(self, codes: Tensor) -> None:
        """Sets the table, for good: the start on the first batch is left out, and training goes on from it.

        Until training shows otherwise, all codes count as used equally often: one that no vector chooses stays for about 20
        updates before revival may move it, with `revive_below=0` for ever.

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
        self._count_evenly(torch.full((), with_counts, device=self.codes.device))

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
        least = all_gather_equal(torch.tensor(here, device=self.codes.device)).amin().item()
        self._is_compared = least < 2
        if least == 1:
            broadcast_(self.codes.data)
            self._keep_codes()

    def _is_learning(self) -> bool:
        """Whether a pass is one that training counts."""
        if not (self.training and torch.is_grad_enabled() and self.is_updated) or self.frozen:
            return False
        if under_functorch():
            raise RuntimeError(
                f"{type(self).__name__} collects statistics of a training pass, which torch.func (vmap, grad) cannot: call "
                "it in eval(), or freeze() it"
            )
        return True

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
        batch = CodeBatch(
            counts, sums, flat, errors, self._totals(flat, errors, indices.reshape(-1)), free=not compared.requires_grad
        )
        return self._counting(quantized, loss, batch)

    def _totals(self, vectors: Tensor, errors: Tensor, indices: Tensor) -> Tensor:
        """Further sums of a pass, float32 (T,), which `_follow` gets summed over passes and ranks.

        Args:
            vectors: of the pass (N, D).
            errors: the squared distance of each to the code that it took (N,).
            indices: these codes (N,).
        """
        return vectors.new_zeros(self._number_of_totals)

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
        device = self.codes.device
        if window is None:
            batch, passes = CodeBatch.empty(self.num_codes, self.dim, self._number_of_totals, device), 0
        else:
            batch, passes = window.batch, window.passes
        passed = torch.full((1,), float(passes), dtype=torch.float32, device=device)
        packed = all_reduce_sum(torch.cat([batch.counts, batch.sums.flatten(), batch.totals, passed]))
        sizes = [self.num_codes, self.num_codes * self.dim, self._number_of_totals, 1]
        counts, sums, totals, passed = packed.split(sizes)
        sums = sums.view(self.num_codes, self.dim)
        # an overflowing fp16 step is skipped by the scaler; its vectors must be, too
        valid = packed.isfinite().all() & (passed[0] > 0)
        # of a table that was set, whose codes count as used equally often
        even = (self.counts.amin() == self.counts.amax()) & (self.counts.amin() > 0) & valid
        self._scale_counts(torch.where(even, counts.sum() / self.counts.sum().clamp_min(1e-30), 1.0))
        ema_update_(self.counts, torch.where(valid, counts, self.counts), self._decay_of(counts))
        self._follow(counts, sums, totals, valid)
        self.updates += passed[0] > 0
        if self.revive_below:
            mean = self.counts.sum() / self.num_codes
            dead = (self.counts < self.revive_below * self._usual_count(mean, totals)) & valid
            if values_can_be_read(dead) and world_size() == 1 and not host_number(dead.any()):
                return
            found, rows = sample_by_error(batch.vectors, batch.errors, dead)
            self._place(found, rows, mean)  # their statistics become those of an average code

    def _usual_count(self, mean: Tensor, totals: Tensor) -> Tensor:
        """The count that `revive_below` is a share of, 0-dim; `totals` as in `_follow`."""
        return mean

    def _decay_of(self, counts: Tensor) -> float | Tensor:
        """The decay of `counts` at a step that chose each code `counts` times (K,)."""
        return self.decay

    def _follow(self, counts: Tensor, sums: Tensor, totals: Tensor, valid: Tensor) -> None:
        """Moves what follows the vectors, if `valid`.

        Args:
            counts: how many vectors of this step chose each code (K,).
            sums: of these vectors (K, D).
            totals: what `_totals` gave, summed (T,).
            valid: bool 0-dim.
        """

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
            self._place_all(pool, *self._kmeans(pool))
            self.started = world_size() == 1
            self._is_started_here = True

    def _start_together(self, window: CodeWindow | None) -> None:
        """k-means on the first batches of all ranks."""
        self._is_started_here = False
        flat = self.codes.new_zeros(0, self.dim) if window is None else window.batch.vectors
        pool = all_gather_rows(flat[evenly_spaced(len(flat), self._most_candidates(), flat.device)])
        if len(pool):
            # ranks on different hardware may round differently
            self._place_all(pool, *(broadcast_(each) for each in self._kmeans(pool)))
            for each in self._started_state():
                broadcast_(each)
            self.updates += 1
            self.started = True

    def _kmeans(self, pool: Tensor) -> tuple[Tensor, Tensor]:
        if not (finite := pool.isfinite().all(-1)).all():
            raise ValueError(
                f"{int((~finite).sum())} of {len(pool)} vectors are not finite in the first batch of a {type(self).__name__}"
            )
        generator = torch.Generator().manual_seed(self.seed * 1_000_003)
        return kmeans(pool, self.num_codes, iterations=self.kmeans_iterations, generator=generator)

    def _started_state(self) -> list[Tensor]:
        """What `_place_all` computes beside codes and counts."""
        return []

    def _place_all(self, pool: Tensor, codes: Tensor, counts: Tensor) -> None:
        """Starts from these codes, the centres of the vectors `pool` (N, D)."""
        self._place(torch.ones(self.num_codes, dtype=torch.bool, device=codes.device), codes, counts)
