"""scikit-learn's selectors, and the final model by which all are scored."""

from collections.abc import Callable
from typing import Any

import numpy as np


def peers_of(k: int, classes: bool) -> dict[str, Callable[[Any, Any], Any]]:
    """Functions from a table and its target to the bool mask (D,) of k columns, by the name of the selector.

    Args:
        k: number of columns.
        classes: whether the target is a class.
    """
    from sklearn import ensemble, feature_selection, linear_model
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def mutual(x: Any, y: Any) -> Any:
        function = feature_selection.mutual_info_classif if classes else feature_selection.mutual_info_regression
        return function(x, y, random_state=0)

    test = feature_selection.f_classif if classes else feature_selection.f_regression
    model = linear_model.LogisticRegression(max_iter=2000) if classes else linear_model.LinearRegression()
    forest = (ensemble.RandomForestClassifier if classes else ensemble.RandomForestRegressor)(200, random_state=0)
    found = {
        "f_test": feature_selection.SelectKBest(test, k=k),
        "mutual_information": feature_selection.SelectKBest(mutual, k=k),
        "rfe": feature_selection.RFE(model, n_features_to_select=k),
        "forest": feature_selection.SelectFromModel(forest, max_features=k, threshold=-np.inf),
    }

    def fit(selector: Any) -> Callable[[Any, Any], Any]:
        def mask(x: Any, y: Any) -> Any:
            varies = x.std(0) > 0  # scikit-learn warns of columns that do not vary
            if k >= varies.sum():
                return varies
            chosen = make_pipeline(StandardScaler(), selector).fit(x[:, varies], y)[1].get_support()
            support = np.zeros(x.shape[1], dtype=bool)
            support[np.flatnonzero(varies)[chosen]] = True
            return support

        return mask

    return {name: fit(each) for name, each in found.items()}


def fitted_score(x: Any, y: Any, test_x: Any, test_y: Any, classes: bool) -> float:
    """Accuracy, or R^2, on the test rows of a support vector machine on standardised columns, with scikit-learn's defaults."""
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, SVR

    if classes:
        if np.ndim(y) == 1:
            return float(make_pipeline(StandardScaler(), SVC()).fit(x, y).score(test_x, test_y))
        model = make_pipeline(StandardScaler(), MultiOutputClassifier(SVC())).fit(x, y)
        return float((model.predict(test_x) == test_y).mean())
    spread = np.where(y.std(0) > 0, y.std(0), 1.0)
    y, test_y = (y - y.mean(0)) / spread, (test_y - y.mean(0)) / spread
    model = make_pipeline(StandardScaler(), SVR() if np.ndim(y) == 1 else MultiOutputRegressor(SVR()))
    return float(model.fit(x, y).score(test_x, test_y))
