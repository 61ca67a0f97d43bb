"""How the chains of a MetropolisSearch move: proposals from gradients, with exact acceptance."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.functional import (
    ChainState,
    LogDensity,
    MetropolisStep,
    discrete_langevin,
    gibbs_with_gradients,
    path_auxiliary,
)
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional._random import uniform

_OPTIMAL = 0.574  # of locally balanced proposals (Sun et al. 2022, https://arxiv.org/abs/2209.08183)


class Moves(ABC):
    """A kind of move, with a size (how much a proposal changes) if it has one.

    Attributes:
        target: the acceptance to which a search adapts the size; None if it stays as it is.
        size: the first size.
        least: the smallest size.
    """

    target: float | None = None
    size: float = 1.0
    least: float = 0.0

    @abstractmethod
    def step(
        self,
        state: ChainState,
        log_density: LogDensity,
        size: float,
        temperature: float,
        allowed: Tensor,
        generator: torch.Generator,
    ) -> MetropolisStep:
        """One step of all chains; the arguments are those of `functional.discrete_langevin`."""


@dataclass(frozen=True)
class GibbsMoves(Moves):
    """One letter a step, which the gradient chooses (see `functional.gibbs_with_gradients`)."""

    def step(
        self,
        state: ChainState,
        log_density: LogDensity,
        size: float,
        temperature: float,
        allowed: Tensor,
        generator: torch.Generator,
    ) -> MetropolisStep:
        return gibbs_with_gradients(state, log_density, temperature, allowed=allowed, generator=generator)


@dataclass(frozen=True)
class LangevinMoves(Moves):
    """Any number of letters a step, each position by itself (see `functional.discrete_langevin`).

    Args:
        step_size: alpha, > 0; the first one if it is adapted.
        target_acceptance: in (0, 1), the acceptance to which the step size is adapted; None: it stays as it is.

    Raises:
        ValueError: a number is out of range.
    """

    step_size: float = 0.2
    target_acceptance: float | None = _OPTIMAL

    def __post_init__(self) -> None:
        check_positive(step_size=self.step_size)
        _check_acceptance(self.target_acceptance)

    @property
    def target(self) -> float | None:  # type: ignore[override]
        return self.target_acceptance

    @property
    def size(self) -> float:  # type: ignore[override]
        return self.step_size

    def step(
        self,
        state: ChainState,
        log_density: LogDensity,
        size: float,
        temperature: float,
        allowed: Tensor,
        generator: torch.Generator,
    ) -> MetropolisStep:
        return discrete_langevin(state, log_density, size, temperature, allowed=allowed, generator=generator)


@dataclass(frozen=True)
class PathMoves(Moves):
    """Several letters a step, drawn one after another from the gradient (see `functional.path_auxiliary`).

    A step changes 1 + n letters, where n is drawn uniformly from 0 to 2 (flips - 1), rounded at random.

    Args:
        flips: the mean number of letters, >= 1; the first one if it is adapted.
        target_acceptance: in (0, 1), the acceptance to which the number is adapted; None: it stays as it is.

    Raises:
        ValueError: a number is out of range.
    """

    flips: float = 2.0
    target_acceptance: float | None = _OPTIMAL
    least = 1.0

    def __post_init__(self) -> None:
        check_at_least(1, flips=self.flips)  # type: ignore[arg-type]
        _check_acceptance(self.target_acceptance)

    @property
    def target(self) -> float | None:  # type: ignore[override]
        return self.target_acceptance

    @property
    def size(self) -> float:  # type: ignore[override]
        return self.flips

    def step(
        self,
        state: ChainState,
        log_density: LogDensity,
        size: float,
        temperature: float,
        allowed: Tensor,
        generator: torch.Generator,
    ) -> MetropolisStep:
        # the number does not depend on where the chains are, so each step keeps the density
        share, rounding = uniform((2,), dtype=torch.float32, device=allowed.device, generator=generator).tolist()
        flips = 1 + int(2 * share * (size - 1) + rounding)
        return path_auxiliary(state, log_density, flips, temperature, allowed=allowed, generator=generator)


def _check_acceptance(target: float | None) -> None:
    if target is not None and not 0 < target < 1:
        raise ValueError(f"target_acceptance must lie between 0 and 1, or be None, got {target}")
