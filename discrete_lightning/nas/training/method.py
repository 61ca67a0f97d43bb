"""How an architecture is searched: which samples the network sees, and on which batch weights and architecture learn."""

from dataclasses import dataclass, field
from typing import ClassVar

from discrete_lightning.estimators import Estimator, GumbelSoftmax, Softmax, StraightThroughGumbel
from discrete_lightning.schedules import Constant, Linear, Schedule


class SearchMethod:
    """A method of architecture search: GDAS, DARTS, SecondOrderDARTS, SNAS, or Sampled by any estimator. Frozen dataclasses.

    Attributes:
        estimator: how the gradient passes through the choice.
        temperature: of the samples, a schedule over the share of the search that is over, in [0, 1] (`steps=1` is the whole
            search); None leaves it to a TemperatureAnnealing.
        one_level: weights and architecture learn from the same examples, in one backward pass.
        second_order: the architecture's gradient looks one step of the weights ahead.
    """

    estimator: Estimator
    temperature: Schedule | None
    one_level: ClassVar[bool] = False
    second_order: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.temperature is None:
            return
        if self.temperature.length > 1 + 1e-9:
            raise ValueError(
                f"{self}: its temperature is a schedule over the share of the search, from 0 to 1, and reaches to "
                f"{self.temperature.length:g}: steps=1 is the whole search"
            )
        ends = self.temperature(0.0), self.temperature(1.0)
        if not min(ends) > 0:
            raise ValueError(f"{self}: temperatures must be positive, it goes from {ends[0]:g} to {ends[1]:g}")


@dataclass(frozen=True)
class DARTS(SearchMethod):
    """All operations run, mixed by softmax(alpha); first order (Liu et al. 2018, https://arxiv.org/abs/1806.09055)."""

    estimator: Estimator = field(default=Softmax(), init=False, repr=False)
    temperature: Schedule | None = field(default=Constant(1.0))


@dataclass(frozen=True)
class SecondOrderDARTS(DARTS):
    """DARTS with the architecture's gradient after one unrolled step of the weights (equations 7 and 8)."""

    second_order: ClassVar[bool] = True


@dataclass(frozen=True)
class SNAS(SearchMethod):
    """Concrete samples mix all operations; weights and architecture learn on one batch (Xie et al. 2018,
    https://arxiv.org/abs/1812.09926). Temperature 1 to 0.33.
    """

    estimator: Estimator = field(default=GumbelSoftmax(), init=False, repr=False)
    temperature: Schedule | None = field(default=Linear(1.0, 0.33, steps=1))
    one_level: ClassVar[bool] = True


@dataclass(frozen=True)
class GDAS(SearchMethod):
    """Only the drawn operation runs, by straight-through Gumbel-softmax (Dong & Yang 2019, https://arxiv.org/abs/1910.04465).

    Temperature 10 to 0.1.
    """

    estimator: Estimator = field(default=StraightThroughGumbel(), init=False, repr=False)
    temperature: Schedule | None = field(default=Linear(10.0, 0.1, steps=1))


@dataclass(frozen=True)
class Sampled(SearchMethod):
    """Two levels as in GDAS, by any estimator; with one-hot samples only the drawn operation runs.

    Args:
        estimator: how the gradient passes through the choice.
        temperature: of the samples, over the share of the search.
    """

    estimator: Estimator = field(default=StraightThroughGumbel())
    temperature: Schedule | None = field(default=Constant(1.0))
