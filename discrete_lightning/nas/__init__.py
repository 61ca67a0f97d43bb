"""Architecture search in plain PyTorch: choices among operations, and spaces of networks.

Its Lightning part is `discrete_lightning.nas.training`.
"""

from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.cost_table import check_options, operation_costs
from discrete_lightning.nas.draw import Draw
from discrete_lightning.nas.one_of import OneOf, derive, is_disconnected, skip_share
from discrete_lightning.nas.shared_draw import (
    architecture_choices,
    architecture_parameters,
    expected_loss,
    hold_architecture,
    one_draw,
    weight_parameters,
)
from discrete_lightning.nas.spaces.darts import DARTSSpace
from discrete_lightning.nas.spaces.inverted_residuals import InvertedResidualSpace
from discrete_lightning.nas.spaces.nasbench201 import NASBench201
from discrete_lightning.nas.spaces.space import Edge, SearchNetwork, SearchSpace
from discrete_lightning.nas.unrolled_gradient import unrolled_gradient

__all__ = [
    "ArchitectureChoice",
    "DARTSSpace",
    "Draw",
    "Edge",
    "InvertedResidualSpace",
    "NASBench201",
    "OneOf",
    "SearchNetwork",
    "SearchSpace",
    "architecture_choices",
    "architecture_parameters",
    "check_options",
    "derive",
    "expected_loss",
    "hold_architecture",
    "is_disconnected",
    "one_draw",
    "operation_costs",
    "skip_share",
    "unrolled_gradient",
    "weight_parameters",
]
