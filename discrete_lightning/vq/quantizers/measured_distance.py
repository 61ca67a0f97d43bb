"""Learned codes that measure v, the mean squared distance of a vector to its nearest code: the unit of logits of distances."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.distributed import world_size
from discrete_lightning.functional._checks import host_number
from discrete_lightning.vq.functional.nearest_code import nearest_code
from discrete_lightning.vq.quantizers.code_window import evenly_spaced
from discrete_lightning.vq.quantizers.learned_codes import LearnedCodes

_MEASURED = 512  # vectors of a pass whose distance to the nearest code is measured
_LONGEST = 0.3  # how far the optimiser may move a code in a step, as a share of the root of v
_SMALLEST = 1e-3  # of v, as a share of the variance of vectors


class MeasuredDistance(LearnedCodes):
    """Base of the codebooks whose logits are distances in units of v, a moving average over the vectors of all ranks.

    Attributes:
        nearest_distance: v, 0-dim; 0 until it is measured.
    """

    nearest_distance: Tensor
    _number_of_totals = 3

    def __init__(self, num_codes: int, dim: int, *args: Any, sharpness: float, **arguments: Any) -> None:
        super().__init__(num_codes, dim, *args, **arguments)
        self._check(sharpness, 0 < sharpness < float("inf"), "sharpness", "> 0")
        self.sharpness = sharpness
        self.register_buffer("nearest_distance", torch.zeros((), dtype=torch.float32))
        self._is_measured = False
        self._is_own = False  # whether v is of this rank alone

    @property
    def scale(self) -> Tensor:
        """What squared distances are multiplied with, 0-dim: sharpness / v; sharpness as long as v is unknown."""
        v = self.nearest_distance
        return self.sharpness / torch.where(v > 1e-30, v, 1.0)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self._forget_distance()

    def _keep_codes(self, with_counts: bool = False) -> None:
        super()._keep_codes(with_counts)
        self._forget_distance()

    @torch.no_grad()
    def _forget_distance(self) -> None:
        self.nearest_distance.zero_()
        self._is_measured = self._is_own = False

    @torch.compiler.disable
    def _before_pass(self, vectors: Tensor) -> None:
        super()._before_pass(vectors)
        on_its_own = world_size() > 1 and not (self.bindings or self._was_updated)  # then ranks would stay different
        if not (self._is_measured or on_its_own) and len(vectors):
            if not host_number(self.nearest_distance):  # once, in the first pass
                self.nearest_distance.copy_(self._mean_distance(vectors))
                self._is_own = world_size() > 1
            self._is_measured = True

    @torch.no_grad()
    def _mean_distance(self, vectors: Tensor) -> Tensor:
        """The mean squared distance to the nearest code, of some of the vectors; 0 of no vector.

        It is no less than 1/1000 of their variance: as many codes as vectors would meet each exactly.
        """
        some = vectors[evenly_spaced(len(vectors), _MEASURED, vectors.device)].float()
        return bounded_mean(some, (some - self.codes[nearest_code(some, self.codes)]).square().sum())

    def _longest_step(self) -> Tensor:
        """A share of the distance to the nearest code: a high learning rate does not throw codes out of the data."""
        v = self.nearest_distance
        return torch.where(v > 0, _LONGEST * v.sqrt(), torch.inf)

    def _measured(self, vectors: Tensor, errors: Tensor) -> Tensor:
        """V of a pass, of vectors whose distance to the code that they took is `errors`."""
        return self._mean_distance(vectors)

    def _totals(self, vectors: Tensor, errors: Tensor, indices: Tensor) -> Tensor:
        """The distances to the nearest codes, their number, and how many ranks have a mean of their own."""
        count, own = vectors.new_full((), float(len(vectors))), vectors.new_full((), float(self._is_own))
        return torch.stack([self._measured(vectors, errors) * count, count, own])

    def _follow(self, counts: Tensor, sums: Tensor, totals: Tensor, valid: Tensor) -> None:
        super()._follow(counts, sums, totals, valid)
        distance, count, own = totals[:3]
        measured = distance / count.clamp_min(1)
        averaged = torch.lerp(self.nearest_distance, measured, 1 - self.decay)
        moved = torch.where((own > 0) | (self.nearest_distance == 0), measured, averaged)
        self.nearest_distance.copy_(torch.where(valid & (count > 0), moved, self.nearest_distance))
        self._is_own = False

    def _place_all(self, pool: Tensor, codes: Tensor, counts: Tensor) -> None:
        super()._place_all(pool, codes, counts)
        self.nearest_distance.copy_(self._mean_distance(pool))
        self._is_measured, self._is_own = True, False  # of all ranks, or until they start together

    def _started_state(self) -> list[Tensor]:
        return [self.nearest_distance]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, sharpness={self.sharpness:g}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._is_measured = self._is_own = False


def bounded_mean(vectors: Tensor, distances: Tensor) -> Tensor:
    """The mean of squared distances whose sum is given, and no less than a share of the variance."""
    variance = (vectors - vectors.sum(0) / max(1, len(vectors))).square().sum()
    return torch.maximum(distances, _SMALLEST * variance) / max(1, len(vectors))
