"""How an architecture is searched: which samples the network sees, and who learns on which batch."""

from dataclasses import dataclass, field
from typing import ClassVar

from discrete_lightning.estimators import Estimator, GumbelSoftmax, Softmax, StraightThroughGumbel


class SearchMethod:
    """A method of architecture search: GDAS, DARTS, SecondOrderDARTS, SNAS, or Sampled by any estimator. Frozen dataclasses.

    The temperature goes in a line from `first` to `last` over the search; where both are None, a TemperatureAnnealing sets it.

    Attributes:
        first: temperature at the start.
        last: at the end.
        one_level: weights and architecture learn from the same examples, in one backward pass.
        second_order: the architecture's gradient looks one step of the weights ahead.
    """

    first: float | None
    last: float | None
    one_level: ClassVar[bool] = False
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        ends = (self.first, self.last)
        if (self.first is None) != (self.last is None) or any(end is not None and not end > 0 for end in ends):
            raise ValueError(f"{self}: first and last are temperatures > 0, or both None")

    @property
    def estimator(self) -> Estimator:
        """How the gradient passes the choice."""
        raise NotImplementedError

    def temperature(self, progress: float) -> float | None:
        """At `progress` in [0, 1]."""
        if self.first is None or self.last is None:
            return None
        return self.first + (self.last - self.first) * min(1.0, progress)


@dataclass(frozen=True)
class DARTS(SearchMethod):
    """All operations run, mixed by softmax(alpha); first order (Liu et al. 2018, https://arxiv.org/abs/1806.09055)."""

    first: float | None = 1.0
    last: float | None = 1.0

    @property
    def estimator(self) -> Estimator:
        return Softmax()


@dataclass(frozen=True)
class SecondOrderDARTS(DARTS):
    """DARTS with the architecture's gradient after one unrolled step of the weights (equations 7 and 8)."""

    second_order: ClassVar[bool] = True


@dataclass(frozen=True)
class SNAS(SearchMethod):
    """Concrete samples mix all operations; weights and architecture learn on one batch (Xie et al. 2018,
    https://arxiv.org/abs/1812.09926). Temperature 1 to 0.33.
    """

    first: float | None = 1.0
    last: float | None = 0.33
    one_level: ClassVar[bool] = True

    @property
    def estimator(self) -> Estimator:
        return GumbelSoftmax()


@dataclass(frozen=True)
class GDAS(SearchMethod):
    """Only the drawn operation runs, by straight-through Gumbel-softmax (Dong & Yang 2019, https://arxiv.org/abs/1910.04465).

    Temperature 10 to 0.1.
    """

    first: float | None = 10.0
    last: float | None = 0.1

    @property
    def estimator(self) -> Estimator:
        return StraightThroughGumbel()


@dataclass(frozen=True)
class Sampled(SearchMethod):
    """Two levels as in GDAS, by any estimator; one of one-hot samples runs only the drawn operation.

    Args:
        by: the estimator.
        first, last: of the temperature.
    """

    by: Estimator = field(default_factory=StraightThroughGumbel)
    first: float | None = 1.0
    last: float | None = 1.0

    @property
    def estimator(self) -> Estimator:
        return self.by
