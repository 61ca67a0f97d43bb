"""Experts: what the tokens of a mixture are sent to."""

from discrete_lightning.routing.experts.experts import Experts
from discrete_lightning.routing.experts.mlp import ExpertMLP, StackedMLP
from discrete_lightning.routing.experts.modules import StackedModules

__all__ = ["ExpertMLP", "Experts", "StackedMLP", "StackedModules"]
