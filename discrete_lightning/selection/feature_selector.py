"""Columns of a table, chosen by a network with gates, as a scikit-learn transformer."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

try:
    from sklearn.base import BaseEstimator
    from sklearn.feature_selection import SelectorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "FeatureSelector is a scikit-learn transformer, and scikit-learn 1.6 or newer is not installed: "
        "pip install 'discrete_lightning[selection]'"
    ) from error

from discrete_lightning.estimators import Estimator
from discrete_lightning.selection.budget import BudgetController
from discrete_lightning.selection.decision import BudgetError
from discrete_lightning.selection.features.discoveries import columns_by_knockoffs
from discrete_lightning.selection.features.encoded import encoded_targets, standardized
from discrete_lightning.selection.features.feature_search import Course, SearchSettings, search_columns
from discrete_lightning.selection.features.targets import Targets
from discrete_lightning.selection.gates.by_word import gate_of
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.statistics.stability import stability_selection


class FeatureSelector(SelectorMixin, BaseEstimator):
    """Chooses the columns from which small networks predict the target best: for classes, numbers, or several of either.

    One of four questions is asked; with none, half of the columns are chosen:

        k=5              which 5 columns?
        budget=0.3       which columns, for at most 30 % of what all of them cost (`costs`)?
        fdr=0.1          which columns, of which at most 10 % in the mean are there by chance? (model-X knockoffs)
        stability=0.75   which columns are among the k best in 75 % of random halves of the rows? (complementary pairs)

    Networks see the columns through gates, which are all open first and close until the budget is met (`FeatureSearch`).
    Columns are standardised inside. A column that does not vary is never chosen.

    Args:
        k: number of columns, 1 or more. With `stability`: of each half of the rows.
        budget: share of the cost of all columns, in (0, 1).
        costs: what each column costs, (D,), positive; 1 each if None. For `budget`.
        fdr: wished false discovery rate, in (0, 1).
        stability: share of halves, in (0.5, 1].
        pairs: number of complementary pairs of halves, for `stability`.
        task: "classification", "regression", or "auto": numbers that are not whole, floats of more than 20 different values
            and integers of more than 100 are regression; of several targets, if one of them is. With y=None the columns
            themselves are predicted.
        gate: "stochastic", "hard_concrete", "select_k", or an estimator or its name: see `gate_of`.
        steps: of the optimiser, 1 or more.
        hidden: units of each of two layers of a network.
        members: networks, and folds of the rows, 2 or more.
        batch_size: rows a step.
        products: most products of two, and of three, columns that a network sees beside the columns; 0 for none.
        exchange: whether single columns are exchanged at the end where that lowers the leave-one-out error of a kernel ridge
            regression (`exchanged`); not with `budget` or `fdr`.
        random_state: None, an int, or a RandomState of numpy.

    Attributes:
        support_: bool (D,), which columns are chosen.
        scores_: float64 (D,), what the gates say of each: the larger, the better.
        frequencies_: share of halves in which each was chosen, (D,); with `stability`.
        error_bound_: of the expected number of columns that are there by chance; with `stability`.
        statistics_: the knockoff statistics W, (D,); with `fdr`.
        course_: how the gates moved (`Course`); without `fdr` and `stability`.
        classes_: of each target, if they are classes.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Raises:
        ValueError: in `fit`, if an argument is out of range, or the table cannot be used: more columns are asked than vary, NaN
            or infinite values, one class alone, fewer than 2 rows.
        BudgetError: if no column fits the budget.

    Example:
        >>> from sklearn.datasets import load_breast_cancer
        >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        >>> selector = FeatureSelector(k=5, steps=50, random_state=0).fit(X, y)
        >>> len(selector.get_feature_names_out()), selector.transform(X).shape
        (5, (569, 5))
    """

    def __init__(
        self,
        k: int | None = None,
        *,
        budget: float | None = None,
        costs: Sequence[float] | None = None,
        fdr: float | None = None,
        stability: float | None = None,
        pairs: int = 10,
        task: Literal["auto", "classification", "regression"] = "auto",
        gate: str | Estimator = "stochastic",
        steps: int = 800,
        hidden: int = 32,
        members: int = 5,
        batch_size: int = 320,
        products: int = 16,
        exchange: bool = True,
        random_state: Any = None,
    ) -> None:
        self.k = k
        self.budget = budget
        self.costs = costs
        self.fdr = fdr
        self.stability = stability
        self.pairs = pairs
        self.task = task
        self.gate = gate
        self.steps = steps
        self.hidden = hidden
        self.members = members
        self.batch_size = batch_size
        self.products = products
        self.exchange = exchange
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Chooses columns.

        Args:
            X: table (n, D) of finite numbers, n >= 2; an array or a data frame.
            y: labels or numbers (n,) or (n, T); None predicts the columns from those that are chosen.

        Returns:
            The fitted selector.
        """
        with torch.inference_mode(False), torch.enable_grad():  # whoever calls it, such as a test of Lightning's
            self._fit(X, y)
        return self

    def _fit(self, X: Any, y: Any) -> None:
        table = validate_data(self, X, dtype="numeric", ensure_min_samples=2)
        targets, self.classes_ = encoded_targets(table, y, self.task)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        x, varies = standardized(table)
        number = self._number(x.shape[1], varies)
        if self.fdr is not None:
            self.statistics_, self.support_ = columns_by_knockoffs(x, varies, targets, self.fdr, seed)
            self.scores_ = self.statistics_
        elif self.stability is not None:
            self._fit_halves(x, varies, targets, number, seed)
        else:
            self.scores_, self.support_, self.course_ = self._search(x, varies, targets, number, seed)

    def _get_support_mask(self) -> Any:
        check_is_fitted(self, "support_")
        return self.support_

    def _number(self, columns: int, varies: Any) -> int:
        """The number of columns to choose, after checks of the arguments."""
        given = {"budget": self.budget, "fdr": self.fdr, "stability": self.stability}
        asked = [name for name, value in given.items() if value is not None]
        if len(asked) > 1 or (self.k is not None and asked and asked != ["stability"]):
            named = ["k"] * (self.k is not None) + asked
            raise ValueError(f"FeatureSelector answers one question, got {' and '.join(named)}: give one of them")
        for name, low in (("budget", 0.0), ("fdr", 0.0), ("stability", 0.5)):
            value = given[name]
            most = value == 1 and name == "stability"
            if value is not None and not (isinstance(value, numbers.Real) and (low < value < 1 or most)):
                raise ValueError(f"{name} is a share between {low:g} and 1, got {value!r}")
        if self.costs is not None and self.budget is None:
            raise ValueError("costs say what columns cost for a budget: give budget, or leave costs out")
        if self.k is None:
            return max(1, min(columns // 2, int(varies.sum())))
        if not isinstance(self.k, numbers.Integral) or isinstance(self.k, bool) or self.k < 1:
            raise ValueError(f"k is a number of columns, 1 or more, got {self.k!r}")
        if self.k > columns:
            raise ValueError(f"k={self.k}: the table has {columns} columns: lower k")
        if self.k > varies.sum():
            names = getattr(self, "feature_names_in_", np.arange(columns))[~varies]
            shown = ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
            raise ValueError(
                f"k={self.k}: {int(varies.sum())} of {columns} columns vary; these do not: {shown}: lower k"
            )
        return int(self.k)

    def _search(self, x: Any, varies: Any, targets: Targets, number: int, seed: int) -> tuple[Any, Any, Course]:
        """(scores, support, course) of the rows given; number of columns, unless there is a budget."""
        places = np.flatnonzero(varies)
        scores, support = np.full(len(varies), -np.inf), np.zeros(len(varies), bool)
        controller = self._controller(varies, number)
        members = min(self.members, len(x) // 2) if len(x) >= 4 else 2
        settings = SearchSettings(
            members=members,
            hidden=self.hidden,
            steps=self.steps,
            batch_size=self.batch_size,
            products=self.products,
            exchange=self.exchange,
        )
        if not len(places):
            return scores, support, Course()
        with torch.random.fork_rng(devices=[]):  # first values, which the search draws anew
            gate = gate_of(self.gate, len(places))
        search, course = search_columns(torch.from_numpy(x[:, places]), targets, gate, controller, settings, seed)
        scores[places] = search.gate.scores().double().numpy()
        support[places] = search.gate.open().numpy()
        return scores, support, course

    def _controller(self, varies: Any, number: int) -> BudgetController:
        if self.budget is None:
            return BudgetController(number, two_sided=True)
        if self.costs is None:
            costs = np.ones(len(varies))
        else:
            costs = np.asarray(self.costs, dtype=np.float64)
            if costs.shape != varies.shape or not (costs > 0).all() or not np.isfinite(costs).all():
                raise ValueError(
                    f"costs are positive numbers, one of each of {len(varies)} columns, got shape {costs.shape}"
                )
        budget, dense = self.budget * costs.sum(), costs[varies].sum()
        if varies.any() and costs[varies].min() > budget:
            raise BudgetError(
                f"the budget is {budget:g} ({self.budget:g} of {costs.sum():g}), and the cheapest column that varies costs "
                f"{costs[varies].min():g}: raise budget"
            )
        prices = torch.from_numpy(costs[varies] / max(dense, np.finfo(np.float64).tiny)).float()

        def cost(chances: Mapping[GateLayer, Tensor]) -> Tensor:
            return torch.stack([(each * prices).sum() for each in chances.values()]).sum()

        share = budget / dense if varies.any() else 1.0  # of those that may be chosen: all of them may fit
        return BudgetController(float(share) if share < 1 else 1, cost, two_sided=True)

    def _fit_halves(self, x: Any, varies: Any, targets: Targets, number: int, seed: int) -> None:
        seeds = np.random.RandomState(seed)

        def chosen(rows: Any) -> Any:
            part = Targets(targets.values[torch.as_tensor(rows)], targets.classes)
            half, vary = standardized(x[np.asarray(rows)])
            wanted = max(1, min(number, int((vary & varies).sum())))
            return torch.from_numpy(self._search(half, vary & varies, part, wanted, int(seeds.randint(2**31 - 1)))[1])

        found = stability_selection(
            chosen, len(x), pairs=self.pairs, threshold=float(self.stability or 0.75), seed=seed
        )
        self.frequencies_, self.error_bound_ = np.asarray(found.frequencies), float(found.false_bound)
        self.scores_, self.support_ = self.frequencies_, np.asarray(found.selected)
