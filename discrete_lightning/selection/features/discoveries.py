"""Columns by model-X knockoffs: a bound on the rate of false discoveries."""

from typing import Any

from discrete_lightning.selection.features.targets import Targets


def columns_by_knockoffs(x: Any, varies: Any, targets: Targets, fdr: float, seed: int) -> tuple[Any, Any]:
    """(W, support) of the columns: float64 (D,) and bool (D,)."""
    raise NotImplementedError
