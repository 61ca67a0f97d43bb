"""Do selectors find the columns that were planted? F1 of six problems, 5 seeds, k given.

Ours: `FeatureSelector(k)` with its defaults; `--gates` also runs other gates. Peers: scikit-learn's SelectKBest (F test, mutual
information), RFE (forest), Lasso or logistic regression with L1, a forest's impurity and permutation importance; and where they
are installed LightGBM (gain), STG (its package; of three penalties that which leaves nearest to k gates open, the k largest),
LassoNet (its path; the order in which columns leave).
Run: `pip install lightgbm stg lassonet; python -m benchmarks.selection.planted`.
"""

import argparse
import collections
import collections.abc
import contextlib
import io
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import RFE, f_classif, f_regression, mutual_info_classif, mutual_info_regression
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LassoCV, LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

from benchmarks.selection.problems import NAMES, Problem, problem
from discrete_lightning.selection import FeatureSelector

Selector = Callable[[Any, Any, int, bool, int], Any]


def _best(scores: Any, k: int) -> Any:
    return np.argsort(-np.asarray(scores), kind="stable")[:k]


def f_test(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:  # noqa: ARG001
    return _best((f_classif if classes else f_regression)(x, y)[0], k)


def mutual_information(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    return _best((mutual_info_classif if classes else mutual_info_regression)(x, y, random_state=seed), k)


def _forest(classes: bool, seed: int, trees: int = 200) -> Any:
    return (RandomForestClassifier if classes else RandomForestRegressor)(trees, random_state=seed)


def rfe(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    return np.flatnonzero(RFE(_forest(classes, seed, 60), n_features_to_select=k, step=0.1).fit(x, y).support_)


def lasso(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    if not classes:
        return _best(abs(LassoCV(random_state=seed).fit(x, y).coef_), k)
    model = LogisticRegressionCV(
        Cs=5, l1_ratios=(1.0,), solver="liblinear", scoring="neg_log_loss", use_legacy_attributes=False
    )
    return _best(abs(model.fit(x, y).coef_[0]), k)


def forest(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    return _best(_forest(classes, seed).fit(x, y).feature_importances_, k)


def permutation(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    order = np.random.RandomState(seed).permutation(len(x))
    train, held = order[: 3 * len(x) // 4], order[3 * len(x) // 4 :]
    model = _forest(classes, seed, 100).fit(x[train], y[train])
    return _best(permutation_importance(model, x[held], y[held], n_repeats=5, random_state=seed).importances_mean, k)


def lightgbm(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    import lightgbm as package

    model = (package.LGBMClassifier if classes else package.LGBMRegressor)(
        importance_type="gain", random_state=seed, verbose=-1
    )
    return _best(model.fit(x, y).feature_importances_, k)


def stg(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    # its last release is for Pythons before 3.10
    for name in ("Sequence", "Mapping", "Iterable", "Set"):
        setattr(collections, name, getattr(collections.abc, name))
    from stg import STG

    torch.manual_seed(seed)
    best: tuple[float, Any] | None = None
    for weight in (0.1, 0.5, 2.0):
        with contextlib.redirect_stdout(io.StringIO()):
            model = STG(
                task_type="classification" if classes else "regression",
                input_dim=x.shape[1],
                output_dim=2 if classes else 1,
                hidden_dims=[64, 64],
                activation="relu",
                optimizer="Adam",
                learning_rate=3e-3,
                batch_size=256,
                sigma=0.5,
                lam=weight,
                feature_selection=True,
                device="cpu",
                random_state=seed,
            )
            target = y if classes else ((y - y.mean()) / y.std()).reshape(-1, 1)
            model.fit(x, target, nr_epochs=300, verbose=False, shuffle=True)
            gates = np.asarray(model.get_gates(mode="raw"))
        distance = abs(float((gates > 0).sum()) - k)
        if best is None or distance < best[0]:
            best = distance, _best(gates, k)
    assert best is not None
    return best[1]


def lassonet(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
    from lassonet import LassoNetClassifier, LassoNetRegressor

    model = (LassoNetClassifier if classes else LassoNetRegressor)(
        hidden_dims=(64,), M=10, path_multiplier=1.05, n_iters=(300, 50), patience=(30, 10), random_state=seed
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model.path(x, y if classes else (y - y.mean()) / y.std(), return_state_dicts=False)
    return _best(model.feature_importances_.numpy(), k)


PEERS: dict[str, Selector] = {
    "F test": f_test,
    "mutual information": mutual_information,
    "RFE": rfe,
    "L1": lasso,
    "forest": forest,
    "permutation": permutation,
    "LightGBM": lightgbm,
    "STG": stg,
    "LassoNet": lassonet,
}
PACKAGES = {"LightGBM": "lightgbm", "STG": "stg", "LassoNet": "lassonet"}


def ours(gate: str, steps: int) -> Selector:
    def select(x: Any, y: Any, k: int, classes: bool, seed: int) -> Any:
        selector = FeatureSelector(
            k, gate=gate, task="classification" if classes else "regression", steps=steps, random_state=seed
        )
        return selector.fit(x, y).get_support(indices=True)

    return select


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--gates", nargs="+", default=["stochastic"])
    parser.add_argument("--problems", nargs="+", default=list(NAMES))
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # of solvers that stop early, in the peers
    selectors = {f"ours, {gate}": ours(gate, arguments.steps) for gate in arguments.gates}
    if not arguments.no_peers:
        missing = [name for name, package in PACKAGES.items() if find_spec(package) is None]
        selectors |= {name: each for name, each in PEERS.items() if name not in missing}
        if missing:
            print(f"not installed, left out: {', '.join(missing)}")
    found: dict[str, list[list[float]]] = {name: [] for name in selectors}
    seconds = dict.fromkeys(selectors, 0.0)
    for name in arguments.problems:
        problems = [problem(name, seed) for seed in range(arguments.seeds)]
        for label, selector in selectors.items():
            started = time.perf_counter()
            sets = [_chosen(selector, each, seed) for seed, each in enumerate(problems)]
            seconds[label] += time.perf_counter() - started
            found[label].append([each.f1(one) for each, one in zip(problems, sets, strict=True)])
        print(name, {label: round(float(np.mean(values[-1])), 3) for label, values in found.items()}, flush=True)
    width = max(map(len, selectors))
    print(f"\nmean F1 of {arguments.seeds} seeds (lowest)")
    print(f"{'':<{width}} " + " ".join(f"{name:>14}" for name in arguments.problems) + "   mean  s/fit")
    for label, values in found.items():
        cells = " ".join(f"{np.mean(each):>7.3f} ({min(each):.2f})" for each in values)
        fits = len(values) * arguments.seeds
        print(f"{label:<{width}} {cells}  {np.mean(values):.3f}  {seconds[label] / fits:.1f}")


def _chosen(selector: Selector, each: Problem, seed: int) -> frozenset[int]:
    x = StandardScaler().fit_transform(each.x)
    return frozenset(int(i) for i in selector(x, each.y, each.k, each.y.dtype.kind == "i", seed))


if __name__ == "__main__":
    main()
