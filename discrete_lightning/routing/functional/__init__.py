"""Tensor functions of routing: losses for an even load, probabilities of sets of experts, products of sorted rows."""

from discrete_lightning.routing.functional.balance_loss import balance_loss
from discrete_lightning.routing.functional.dispatch import Groups, combine, dispatch, sort_by_expert
from discrete_lightning.routing.functional.grouped_matmul import grouped_matmul
from discrete_lightning.routing.functional.subset_log_probability import subset_log_probability
from discrete_lightning.routing.functional.z_loss import z_loss

__all__ = [
    "Groups",
    "balance_loss",
    "combine",
    "dispatch",
    "grouped_matmul",
    "sort_by_expert",
    "subset_log_probability",
    "z_loss",
]
