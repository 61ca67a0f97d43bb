"""Columns by model-X knockoffs: a bound on the rate of false discoveries."""

from typing import Any

import numpy as np
import torch

from discrete_lightning.selection.features.targets import Targets
from discrete_lightning.selection.paired_importance import paired_importance
from discrete_lightning.selection.statistics.knockoff_threshold import knockoff_select
from discrete_lightning.selection.statistics.knockoffs import gaussian_knockoffs


def columns_by_knockoffs(x: Any, varies: Any, targets: Targets, fdr: float, seed: int) -> tuple[Any, Any]:
    """(W, support) of the columns: float64 (D,) and bool (D,)."""
    raise NotImplementedError
