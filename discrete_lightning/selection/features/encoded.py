"""Tables and targets of numpy, as the search for columns takes them."""

from typing import Any

import numpy as np
import torch

from discrete_lightning.selection.features.targets import Targets, class_targets, number_targets

_LIMIT = 4.0  # deviations
_FLOATS, _INTEGERS = 20, 100  # different values above which a target is a number, and not a class


def standardized(table: Any, reference: Any = None) -> tuple[Any, Any]:
    """Columns of mean 0 and variance 1, clipped at 4 deviations, float32 (n, D); and which of them vary, bool (D,).

    Args:
        table: (n, D).
        reference: rows by whose mean and deviation it is scaled, (m, D); those of the table by default.
    """
    table = np.asarray(table, dtype=np.float64)
    rows = table if reference is None else np.asarray(reference, dtype=np.float64)
    mean, spread = rows.mean(0), rows.std(0)
    # the rounding of a constant column is no variation
    varies = spread > 1e-10 * np.maximum(np.abs(mean), np.finfo(np.float64).tiny)
    scaled = (table - mean) / np.where(varies, spread, 1.0)
    return np.clip(scaled, -_LIMIT, _LIMIT).astype(np.float32), varies


def encoded_targets(table: Any, y: Any, task: str) -> tuple[Targets, Any]:
    """The targets, and their classes: an array, a list of arrays for several targets, or None for numbers.

    Args:
        table: (n, D); predicted where y is None.
        y: (n,) or (n, T), or None.
        task: "auto", "classification" or "regression".

    Raises:
        ValueError: if y does not fit.
    """
    if task not in ("auto", "classification", "regression"):
        raise ValueError(f"task must be 'auto', 'classification' or 'regression', got {task!r}")
    if y is None:
        scaled, varies = standardized(table)
        return number_targets(torch.from_numpy(scaled[:, varies] if varies.any() else scaled)), None
    values = np.asarray(y)
    if values.dtype.kind == "c":
        raise ValueError("Complex data not supported: y holds complex numbers; give its real and imaginary parts")
    if values.ndim == 0 or values.ndim > 2 or len(values) != len(table):
        raise ValueError(
            f"y has a target of each of the {len(table)} rows of X, (n,) or (n, T); got shape {values.shape}"
        )
    columns = values.reshape(len(values), -1)
    _check_known(columns)
    if task == "regression" or (task == "auto" and any(_is_number(each) for each in columns.T)):
        try:
            numeric = columns.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                "y holds words, and task='regression' predicts numbers: give task='classification'"
            ) from None
        return number_targets(torch.from_numpy(numeric)), None
    coded, classes = [], []
    for t, each in enumerate(columns.T):
        try:
            names, codes = np.unique(each, return_inverse=True)
        except TypeError:
            raise ValueError("y mixes words and numbers: give classes of one type") from None
        if len(names) < 2:
            where = "" if columns.shape[1] == 1 else f" in column {t}"
            only = names.tolist()[0]
            raise ValueError(
                f"y holds one class{where}, {only!r}: there is nothing to tell apart; give 2 classes or more"
            )
        if len(names) == len(each) and len(each) > 20 and task == "auto":
            raise ValueError(f"y holds another class in each of {len(each)} rows: numbers need task='regression'")
        coded.append(codes)
        classes.append(names)
    return class_targets(torch.from_numpy(np.stack(coded, 1).astype(np.int64))), classes[0] if len(
        classes
    ) == 1 else classes


def _check_known(columns: Any) -> None:
    if columns.dtype.kind == "f":
        wrong = ~np.isfinite(columns)
    elif columns.dtype.kind == "O":
        wrong = np.array([[each is None or each != each for each in row] for row in columns])
    else:
        return
    if wrong.any():
        row = int(np.flatnonzero(wrong.any(1))[0])
        raise ValueError(f"Input y contains NaN, infinity or nothing, first in row {row}: leave those rows out")


def _is_number(column: Any) -> bool:
    """Whether a target is a number rather than a class."""
    if column.dtype.kind not in "fiu":
        return False
    whole = column.dtype.kind in "iu" or (column == np.floor(column)).all()
    different = len(np.unique(column))
    if column.dtype.kind == "f" and not whole:
        return True
    return bool(different > (_FLOATS if column.dtype.kind == "f" else _INTEGERS))
