"""Accuracy with k columns of real tables, beside scikit-learn's selectors.

Breast cancer (569 x 30), wine (178 x 13), digits (1,797 x 64): 5 times 2-fold splits, every selector refitted in each half,
the same final classifier for all (standardised columns, support vector machine with an RBF kernel). `best` is the best of
scikit-learn's selectors at that k, chosen by its mean over the same splits, which favours it.
Run: `python -m benchmarks.selection.tables`.
"""

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, f_classif, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from discrete_lightning.selection import FeatureSelector

TABLES: dict[str, Callable[..., Any]] = {
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "digits": datasets.load_digits,
}
SIZES = (3, 5, 10, 20)


def selectors(k: int, seed: int) -> dict[str, Any]:
    """scikit-learn's selectors of k columns; those that need a model have a forest or a logistic regression."""

    def mutual(x: Any, y: Any) -> Any:
        return mutual_info_classif(x, y, random_state=seed)

    forest = RandomForestClassifier(200, random_state=seed)
    lasso = LogisticRegression(C=0.1, l1_ratio=1.0, solver="saga", max_iter=300, random_state=seed)
    return {
        "f test": SelectKBest(f_classif, k=k),
        "mutual information": SelectKBest(mutual, k=k),
        "RFE": RFE(LogisticRegression(max_iter=2000), n_features_to_select=k),
        "forest": SelectFromModel(forest, max_features=k, threshold=-np.inf),
        "L1": SelectFromModel(lasso, max_features=k, threshold=-np.inf),
    }


def accuracy(selector: Any, x: Any, y: Any, train: Any, test: Any) -> tuple[float, frozenset[int]]:
    """Accuracy on the test rows with what was selected on the training rows, and what that was."""
    model = make_pipeline(StandardScaler(), selector, SVC())
    model.fit(x[train], y[train])
    return float(model.score(x[test], y[test])), frozenset(model[1].get_support(indices=True).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--steps", type=int, default=800)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # of saga's convergence, and of constant pixels
    differences, errors = [], []
    print(f"{'table':<14} {'k':>2} {'ours':>6} {'best':>6} {'se':>6}  which")
    for name in arguments.tables:
        x, y = TABLES[name](return_X_y=True)
        splits = list(RepeatedStratifiedKFold(n_splits=2, n_repeats=arguments.repeats, random_state=0).split(x, y))
        for k in (each for each in SIZES if each < x.shape[1]):
            found: dict[str, list[float]] = {}
            for i, (train, test) in enumerate(splits):
                ours = FeatureSelector(k=k, steps=arguments.steps, random_state=i)
                for which, selector in {"ours": ours, **selectors(k, i)}.items():
                    found.setdefault(which, []).append(accuracy(selector, x, y, train, test)[0])
            mine = np.array(found.pop("ours"))
            best = max(found, key=lambda each: float(np.mean(found[each])))
            gap = mine - np.array(found[best])
            error = gap.std(ddof=1) / len(gap) ** 0.5
            differences.append(gap.mean())
            errors.append(error)
            others = ", ".join(f"{each} {np.mean(v):.4f}" for each, v in found.items())
            print(
                f"{name:<14} {k:>2} {mine.mean():.4f} {np.mean(found[best]):.4f} {error:.4f}  {best}  ({others})",
                flush=True,
            )
    within = sum(gap >= -error for gap, error in zip(differences, errors, strict=True))
    print(
        f"mean difference to the best {np.mean(differences):+.4f}; within one standard error in {within} of {len(errors)}"
    )


if __name__ == "__main__":
    main()
