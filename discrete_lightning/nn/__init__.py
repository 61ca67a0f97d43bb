"""Modules with state. They know nothing of Lightning and work in plain PyTorch."""

from discrete_lightning.nn.choice import (
    Choice,
    Draw,
    architecture_parameters,
    choices,
    expected_loss,
    held,
    one_draw,
    weight_parameters,
)
from discrete_lightning.nn.codebook import Codebook, Quantized
from discrete_lightning.nn.darts_cell import DARTSSpace
from discrete_lightning.nn.gumbel_quantizer import GumbelQuantizer
from discrete_lightning.nn.layer_chain import LayerChain
from discrete_lightning.nn.nasbench201 import NASBench201
from discrete_lightning.nn.one_of import OneOf, derive
from discrete_lightning.nn.operation_costs import check_options, operation_costs
from discrete_lightning.nn.relaxed import Relaxed, RelaxedBernoulli, RelaxedCategorical, relaxed, use_estimator
from discrete_lightning.nn.relaxed_subset import RelaxedSubset
from discrete_lightning.nn.scalar import Scalar, Temperature, Weight
from discrete_lightning.nn.search_space import Edge, SearchNetwork, SearchSpace
from discrete_lightning.nn.vector_quantizer import VectorQuantizer

__all__ = [
    "Choice",
    "Codebook",
    "DARTSSpace",
    "Draw",
    "Edge",
    "GumbelQuantizer",
    "LayerChain",
    "NASBench201",
    "OneOf",
    "Quantized",
    "Relaxed",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "RelaxedSubset",
    "Scalar",
    "SearchNetwork",
    "SearchSpace",
    "Temperature",
    "VectorQuantizer",
    "Weight",
    "architecture_parameters",
    "check_options",
    "choices",
    "derive",
    "expected_loss",
    "held",
    "one_draw",
    "operation_costs",
    "relaxed",
    "use_estimator",
    "weight_parameters",
]
