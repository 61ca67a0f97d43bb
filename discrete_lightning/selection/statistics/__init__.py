"""Statistics of selections: knockoffs, thresholds that control false discoveries, stability; torch and numpy alone."""

from discrete_lightning.selection.statistics.agreement import jaccard_index, nogueira_stability
from discrete_lightning.selection.statistics.covariance import ledoit_wolf
from discrete_lightning.selection.statistics.e_values import e_bh, knockoff_e_values
from discrete_lightning.selection.statistics.knockoff_scale import knockoff_scale, mvr_loss
from discrete_lightning.selection.statistics.knockoff_threshold import knockoff_select, knockoff_threshold
from discrete_lightning.selection.statistics.knockoffs import gaussian_knockoffs
from discrete_lightning.selection.statistics.stability import StableSelection, stability_selection

__all__ = [
    "StableSelection",
    "e_bh",
    "gaussian_knockoffs",
    "jaccard_index",
    "knockoff_e_values",
    "knockoff_scale",
    "knockoff_select",
    "knockoff_threshold",
    "ledoit_wolf",
    "mvr_loss",
    "nogueira_stability",
    "stability_selection",
]
