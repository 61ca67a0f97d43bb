"""Columns by model-X knockoffs: a bound on the rate of false discoveries (Candes et al. 2018, arXiv 1610.02351)."""

from typing import Any

import numpy as np
import torch

from discrete_lightning.selection.features.targets import Targets
from discrete_lightning.selection.paired_importance import Task, paired_importance
from discrete_lightning.selection.statistics.knockoff_threshold import knockoff_select
from discrete_lightning.selection.statistics.knockoffs import gaussian_knockoffs


def columns_by_knockoffs(x: Any, varies: Any, targets: Targets, fdr: float, seed: int) -> tuple[Any, Any]:
    """The columns that are told from their knockoffs.

    Args:
        x: standardised columns, float32 (n, D).
        varies: bool (D,); the others are left out.
        targets: of the rows; one class, or numbers.
        fdr: wished false discovery rate, in (0, 1).
        seed: of the knockoffs and of the networks.

    Returns:
        W, float64 (D,), and which columns are chosen, bool (D,).

    Raises:
        ValueError: if there are several targets of classes.
    """
    if len(targets.classes) > 1:
        raise ValueError(
            f"fdr is for one target, or for numbers, and y has {len(targets.classes)} targets of classes: fit one at a time"
        )
    places = np.flatnonzero(varies)
    w, support = np.zeros(len(varies)), np.zeros(len(varies), dtype=bool)
    if not len(places):
        return w, support
    table = torch.from_numpy(x[:, places])
    knockoffs = gaussian_knockoffs(table, generator=torch.Generator().manual_seed(seed))
    y = targets.values[:, 0] if targets.classes else targets.values
    task: Task = "classification" if targets.classes else "regression"
    found = paired_importance(table, knockoffs, y, task, seed=seed)
    w[places] = found.double().numpy()
    support[places] = knockoff_select(found, fdr).numpy()
    return w, support
