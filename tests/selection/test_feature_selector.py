"""FeatureSelector as scikit-learn's users meet it: its checks, pipelines, the four questions, tasks, errors, no leak.

`fdr` is tested with the knockoffs.
"""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from discrete_lightning.estimators import LeaveOneOut, ReinMax
from discrete_lightning.selection import FeatureSelector

pandas = pytest.importorskip("pandas")


@parametrize_with_checks([FeatureSelector(steps=5)])
def test_scikit_learn_s_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def quick(k: int | None = None, **arguments: Any) -> FeatureSelector:
    return FeatureSelector(k, **{"steps": 60, "hidden": 12, "members": 3, "random_state": 0, **arguments})


def table(rows: int = 200, columns: int = 8, seed: int = 0) -> Any:
    return np.random.RandomState(seed).randn(rows, columns)


X = table()
LABELS = (X[:, 1] + X[:, 5] > 0).astype(int)
NUMBERS = 2 * X[:, 1] - X[:, 5]


def chosen(selector: FeatureSelector) -> list[int]:
    return selector.get_support(indices=True).tolist()


# Which columns


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (LABELS, [0, 1]),
        (np.array(["no", "yes"])[LABELS], ["no", "yes"]),
        (np.array(["no", "yes"], dtype=object)[LABELS], ["no", "yes"]),
        (LABELS.astype(bool), [False, True]),
        (NUMBERS, None),
        (np.stack([X[:, 1], 1000 * X[:, 5]], 1), None),  # several outputs
    ],
    ids=["integers", "words", "objects", "bools", "numbers", "several"],
)
def test_two_columns_that_matter(y: Any, classes: Any) -> None:
    selector = quick(2).fit(X, y)
    assert chosen(selector) == [1, 5]
    assert np.array_equal(selector.transform(X), X[:, [1, 5]])
    assert (selector.classes_ if classes is None else list(selector.classes_)) == classes
    assert selector.scores_.shape == (8,)
    assert selector.scores_.dtype == np.float64
    assert len(selector.course_.losses) > 10


def test_several_targets_of_classes() -> None:
    y = np.stack([X[:, 1] > 0, X[:, 5] > 0, X[:, 3] > 0], 1)  # multilabel
    selector = quick(3).fit(X, y.astype(int))
    assert chosen(selector) == [1, 3, 5]
    assert [each.tolist() for each in selector.classes_] == [[0, 1]] * 3


def test_without_a_target_the_columns_are_predicted() -> None:
    """Two columns tell of four others."""
    x = table()
    x[:, 2:4] = x[:, :1] + 0.1 * x[:, 2:4]
    x[:, 4:6] = x[:, 1:2] + 0.1 * x[:, 4:6]
    selector = quick(2, steps=150).fit(x[:, :6])
    first, second = chosen(selector)
    assert first in (0, 2, 3)
    assert second in (1, 4, 5)


@pytest.mark.parametrize("gate", ["hard_concrete", "select_k", "ReinMax", ReinMax(), LeaveOneOut(samples=3)], ids=str)
def test_gates(gate: Any) -> None:
    assert chosen(quick(2, gate=gate).fit(X, NUMBERS)) == [1, 5]


def test_with_and_without_exchange_and_products() -> None:
    x = table(300)
    y = np.sign(x[:, 2] * x[:, 6])
    assert chosen(quick(2).fit(x, y)) == [2, 6]
    for options in ({"exchange": False}, {"products": 0, "steps": 250}):
        assert chosen(quick(2, **options).fit(x, y)) == [2, 6]


@pytest.mark.parametrize("k", [1, 3, 8])
def test_exactly_k(k: int) -> None:
    for exchange in (True, False):
        assert len(chosen(quick(k, steps=12, exchange=exchange).fit(X, LABELS))) == k


def test_half_of_the_columns_without_a_question() -> None:
    assert len(chosen(quick(steps=5).fit(X, LABELS))) == 4
    assert len(chosen(quick(steps=5).fit(X[:, :1], LABELS))) == 1
    x = X.copy()
    x[:, :6] = 1
    assert chosen(quick(steps=5).fit(x, LABELS)) == [6, 7]


def test_a_column_that_does_not_vary_is_never_chosen() -> None:
    x = X.copy()
    x[:, [0, 4]] = [3.5, 1e9 + 0.1]
    selector = quick(6, steps=12).fit(x, LABELS)
    assert chosen(selector) == [1, 2, 3, 5, 6, 7]
    assert np.isinf(selector.scores_).nonzero()[0].tolist() == [0, 4]
    assert chosen(quick(budget=0.99, steps=12).fit(x, LABELS)) == [1, 2, 3, 5, 6, 7]
    frame = pandas.DataFrame(x, columns=list("abcdefgh"))
    with pytest.raises(ValueError, match=r"^k=7: 6 of 8 columns vary; these do not: a, e: lower k$"):
        quick(7).fit(frame, LABELS)
    with pytest.raises(ValueError, match=r"^k=7: 6 of 8 columns vary; these do not: 0, 4: lower k$"):
        quick(7).fit(x, LABELS)


@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_units_do_not_matter(scale: float) -> None:
    x = X.copy()
    x[:, 1] = scale * x[:, 1] + 10 * scale
    assert chosen(quick(2).fit(x, NUMBERS)) == [1, 5]


@pytest.mark.parametrize("budget", [0.2, 0.5, 0.8])
def test_a_budget_with_costs(budget: float) -> None:
    costs = [4.0, 1.0, 2.0, 8.0, 0.5, 3.0, 1.5, 5.0]
    selector = quick(budget=budget, costs=costs, steps=40).fit(X, NUMBERS)
    spent = sum(costs[j] for j in chosen(selector))
    assert 0 < spent <= budget * sum(costs)
    assert {1, 5} <= set(chosen(selector))  # 4 of 25
    unchosen = [costs[j] for j in range(8) if j not in chosen(selector)]
    assert spent >= 0.999 * budget * sum(costs) or all(each > budget * sum(costs) - spent for each in unchosen)


def test_a_budget_without_costs_is_a_share_of_the_columns() -> None:
    for budget, k in [(0.25, 2), (0.3, 2), (0.5, 4), (0.99, 7)]:
        assert len(chosen(quick(budget=budget, steps=12).fit(X, LABELS))) == k


def test_a_budget_for_cheap_columns_alone() -> None:
    """The column of most use costs more than there is."""
    costs = [1.0, 100.0, *[1.0] * 6]
    selector = quick(budget=0.03, costs=costs).fit(X, 3 * X[:, 1] + X[:, 5])
    assert 5 in chosen(selector)
    assert 1 not in chosen(selector)
    assert len(chosen(selector)) == 3
    with pytest.raises(
        ValueError, match=r"the budget is 0\.107 \(0\.001 of 107\), and the cheapest .* costs 1: raise budget"
    ):
        quick(budget=0.001, costs=costs).fit(X, NUMBERS)


def test_stability() -> None:
    selector = quick(2, stability=0.75, pairs=3, steps=20).fit(X, NUMBERS)
    assert chosen(selector) == [1, 5]
    assert selector.frequencies_[[1, 5]].tolist() == [1, 1]
    assert np.array_equal(selector.support_, selector.frequencies_ >= 0.75)
    assert selector.frequencies_.sum() == pytest.approx(2)  # two of each half
    assert np.allclose(selector.frequencies_ * 6, np.round(selector.frequencies_ * 6))
    assert selector.error_bound_ == pytest.approx(2**2 / ((2 * 0.75 - 1) * 8))  # q^2 / ((2 pi - 1) D)
    noise = quick(2, stability=1.0, pairs=3, steps=10).fit(table(60, 30), LABELS[:60] * 0 + np.arange(60) % 2)
    assert noise.support_.sum() <= 2


def test_stability_of_a_column_that_hardly_varies() -> None:
    """In some halves nothing varies at all."""
    x = np.zeros((20, 2))
    x[0, 0] = 1.0
    selector = quick(1, stability=0.9, pairs=2, steps=4).fit(x, np.arange(20) % 2)
    assert selector.frequencies_.tolist() == [0.5, 0]
    assert not selector.support_.any()


# scikit-learn


def test_a_pipeline_and_a_grid() -> None:
    pipeline = make_pipeline(quick(steps=25), LogisticRegression())
    search = GridSearchCV(pipeline, {"featureselector__k": [1, 2]}, cv=3).fit(X, LABELS)
    assert search.best_params_ == {"featureselector__k": 2}
    assert search.best_score_ > 0.9
    assert search.best_estimator_[0].get_support(indices=True).tolist() == [1, 5]
    assert search.predict(X[:5]).shape == (5,)


def test_frames() -> None:
    frame = pandas.DataFrame(X, columns=[f"c{j}" for j in range(8)])
    selector = quick(2).set_output(transform="pandas").fit(frame, NUMBERS)
    assert selector.get_feature_names_out().tolist() == ["c1", "c5"]
    assert selector.feature_names_in_.tolist() == frame.columns.tolist()
    found = selector.transform(frame)
    pandas.testing.assert_frame_equal(found, frame[["c1", "c5"]])
    assert selector.inverse_transform(found.to_numpy()).shape == (200, 8)
    assert make_pipeline(selector).fit_transform(frame, NUMBERS).columns.tolist() == ["c1", "c5"]
    assert quick(2).fit(X, NUMBERS).get_feature_names_out().tolist() == ["x1", "x5"]
    assert chosen(quick(2).fit(frame, pandas.Series(np.array(["u", "v"])[LABELS]))) == [1, 5]
    assert chosen(quick(2).fit(frame, pandas.Series(NUMBERS, name="y"))) == [1, 5]


def test_clones_and_pickles() -> None:
    selector = quick(2, gate=ReinMax(), costs=None, steps=20)
    twin = clone(selector)
    assert twin.get_params() == selector.get_params()
    selector.fit(X, NUMBERS)
    assert not hasattr(clone(selector), "support_")
    loaded = pickle.loads(pickle.dumps(selector))
    assert np.array_equal(loaded.transform(X), selector.transform(X))
    assert np.array_equal(twin.fit(X, NUMBERS).scores_, selector.scores_)


def test_the_random_state_decides_alone() -> None:
    state = torch.get_rng_state()
    np.random.seed(0)
    first = quick(2, steps=10).fit(X, LABELS).scores_
    np.random.seed(1)
    torch.manual_seed(5)
    before, of_numpy = torch.get_rng_state(), np.random.get_state()
    assert np.array_equal(quick(2, steps=10).fit(X, LABELS).scores_, first)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), of_numpy, strict=True))
    assert not np.array_equal(quick(2, steps=10, random_state=1).fit(X, LABELS).scores_, first)
    shared = np.random.RandomState(0)
    pair = [quick(2, steps=10, random_state=shared).fit(X, LABELS).scores_ for _ in range(2)]
    assert not np.array_equal(*pair)
    with torch.no_grad():
        assert np.array_equal(quick(2, steps=10).fit(X, LABELS).scores_, first)
    torch.set_rng_state(state)


def test_nothing_is_learned_from_rows_that_are_held_out() -> None:
    """Labels of chance: selected in each fold the accuracy is at chance, selected before it is far above.

    Of 40 predictions of probability 1/2 a share of .18 to .82 is right, but for 4 standard deviations.
    """
    x, y = table(40, 200, 3), np.arange(40) % 2
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    selector, classifier = quick(8, steps=30), KNeighborsClassifier(5)
    honest = cross_val_score(make_pipeline(selector, classifier), x, y, cv=folds).mean()
    leaking = cross_val_score(classifier, selector.fit_transform(x, y), y, cv=folds).mean()
    assert 0.18 < honest < 0.82
    assert leaking > 0.85


# Errors

_NAN = X.copy()
_NAN[3, 2] = np.nan
_INFINITE = X.copy()
_INFINITE[3, 2] = np.inf
_WORDS = X.astype(object)
_WORDS[0, 0] = "north"
_WITH_NAN = NUMBERS.copy()
_WITH_NAN[7] = np.nan
_NONE = np.array(["a", None] * 100, dtype=object)

WRONG: dict[str, tuple[dict[str, Any], Any, Any, str]] = {
    "k > D": ({"k": 9}, X, LABELS, "k=9: the table has 8 columns: lower k"),
    "k 0": ({"k": 0}, X, LABELS, "k is a number of columns, 1 or more, got 0"),
    "k float": ({"k": 2.0}, X, LABELS, r"k is a number of columns, 1 or more, got 2\.0"),
    "k bool": ({"k": True}, X, LABELS, "got True"),
    "NaN": ({}, _NAN, LABELS, "contains NaN"),
    "infinite": ({}, _INFINITE, LABELS, "contains infinity"),
    "NaN in y": ({}, X, _WITH_NAN, "Input y contains NaN, infinity or nothing, first in row 7"),
    "None in y": ({}, X, _NONE, "Input y contains NaN, infinity or nothing, first in row 1"),
    "one class": ({}, X, np.zeros(200, int), "y holds one class, 0: there is nothing to tell apart"),
    "one class of several": ({}, X, np.stack([LABELS, 0 * LABELS], 1), "y holds one class in column 1, 0"),
    "two questions": ({"k": 2, "budget": 0.5}, X, LABELS, "answers one question, got k and budget"),
    "two others": ({"fdr": 0.1, "stability": 0.7}, X, LABELS, "answers one question, got fdr and stability"),
    "words as numbers": ({"task": "regression"}, X, np.array(["a", "b"])[LABELS], "y holds words, and task='regression'"),
    "words": ({}, _WORDS, LABELS, "could not convert string to float: 'north'"),
    "mixed": ({}, X, np.array(["a", 1] * 100, dtype=object), "y mixes words and numbers"),
    "another class each": ({}, X, np.array([f"id{i}" for i in range(200)]), "another class in each of 200 rows"),
    "rows": ({}, X, LABELS[:-1], r"y has a target of each of the 200 rows of X, .* got shape \(199,\)"),
    "y cubed": ({}, X, np.zeros((200, 1, 1)), r"got shape \(200, 1, 1\)"),
    "complex": ({}, X, NUMBERS * 1j, "Complex data not supported"),
    "task": ({"task": "ranking"}, X, LABELS, "task must be 'auto', 'classification' or 'regression', got 'ranking'"),
    "budget": ({"budget": 1.0}, X, LABELS, r"budget is a share between 0 and 1, got 1\.0"),
    "stability": ({"stability": 0.5}, X, LABELS, r"stability is a share between 0\.5 and 1, got 0\.5"),
    "fdr": ({"fdr": 0}, X, LABELS, "fdr is a share between 0 and 1, got 0"),
    "costs alone": ({"costs": [1.0] * 8}, X, LABELS, "give budget, or leave costs out"),
    "costs": ({"budget": 0.5, "costs": [1.0] * 7}, X, LABELS, r"one of each of 8 columns, got shape \(7,\)"),
    "free": ({"budget": 0.5, "costs": [0.0, *[1.0] * 7]}, X, LABELS, "costs are positive numbers"),
    "gate": ({"gate": "gumbel"}, X, LABELS, "gate must be one of stochastic, .* got 'gumbel'"),
    "steps": ({"steps": 0}, X, LABELS, "steps must be at least 1, got 0"),
    "members": ({"members": 1}, X, LABELS, "members must be at least 2, got 1"),
    "one row": ({}, X[:1], LABELS[:1], r"1 sample"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_errors_are_one_line(what: str) -> None:
    arguments, x, y, told = WRONG[what]
    with pytest.raises(ValueError, match=told) as error:
        FeatureSelector(**{"steps": 3, **arguments}).fit(x, y)
    assert what in ("NaN", "infinite") or "\n" not in str(error.value)  # those are scikit-learn's own


def test_what_is_missing_is_said_before_a_transform() -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="not fitted yet"):
        FeatureSelector(2).transform(X)
