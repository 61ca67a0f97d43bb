"""Every estimator that the package exports, by what it can do: a new one is tested by being exported."""

import pytest

from discrete_lightning import estimators
from discrete_lightning.estimators import Estimator, GappedStraightThrough, GumbelRao, LeaveOneOut, StraightThrough

EXPORTED: list[Estimator] = [getattr(estimators, name)() for name in estimators.__all__ if name != "Estimator"]
DECOUPLED = StraightThrough(backward_tau=0.7)
VARIANTS: list[Estimator] = [DECOUPLED, GappedStraightThrough(gap=0.0), GumbelRao(samples=1), LeaveOneOut(samples=5)]
ALL = EXPORTED + VARIANTS

PATHWISE = [each for each in EXPORTED if each.pathwise] + [DECOUPLED]
SCORE = [each for each in EXPORTED if not each.pathwise] + [LeaveOneOut(samples=5)]
# those that need the loss's value and nothing of its gradient
UNBIASED = [each for each in SCORE if isinstance(each, LeaveOneOut | estimators.DisARM | estimators.IndeCateR)]
# those that draw from softmax(logits), and from sigmoid(logits)
OF_SOFTMAX = [each for each in SCORE if each.softmax]
CATEGORICAL = [each for each in EXPORTED if each.categorical] + [DECOUPLED, LeaveOneOut(samples=5)]

# what names do not show: which estimators give mixtures, and which draw nothing
SOFT = [estimators.ContractedReinMax(), estimators.GumbelSoftmax(), estimators.Softmax()]
RANDOM = [each for each in PATHWISE if each != estimators.Softmax()]
HARD = [each for each in PATHWISE if each not in SOFT]

# whose gradient is 0 at a low temperature, or in most rows
VANISHING = (estimators.ReDGE, estimators.IMLE)
# of those that draw, the ones whose backward pass gives nothing to the temperature
_FIXED = (
    estimators.ReinMax,
    estimators.ReinMaxCV,
    estimators.ReinMaxRao,
    estimators.Paired,
    estimators.ReDGE,
    estimators.IMLE,
)
FIXED_TAU = [*(each() for each in _FIXED), DECOUPLED]

each_pathwise = pytest.mark.parametrize("estimator", PATHWISE, ids=repr)
each_random = pytest.mark.parametrize("estimator", RANDOM, ids=repr)
each_hard = pytest.mark.parametrize("estimator", HARD, ids=repr)
each_score = pytest.mark.parametrize("estimator", SCORE, ids=repr)
each_of_all = pytest.mark.parametrize("estimator", PATHWISE + SCORE, ids=repr)
each_kind = pytest.mark.parametrize("binary", [False, True], ids=["categorical", "bernoulli"])


def forward_tau(estimator: Estimator, tau: float) -> float:
    """The temperature of the draw."""
    return tau if estimator == DECOUPLED else 1.0


CASES = [(each, binary) for each in [*PATHWISE, *SCORE] for binary in (False, True) if binary or each.categorical]
each_case = pytest.mark.parametrize(("estimator", "binary"), CASES, ids=str)
