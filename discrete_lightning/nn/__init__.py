"""Modules with state. They know nothing of Lightning and work in plain PyTorch."""

from discrete_lightning.nn._float32 import FixedDtype, Float32State
from discrete_lightning.nn.choice import Choice, Draw
from discrete_lightning.nn.codebook import Codebook, Quantized, Quantizer
from discrete_lightning.nn.composite_quantizer import CompositeQuantizer
from discrete_lightning.nn.darts_cell import DARTSSpace
from discrete_lightning.nn.draws import (
    architecture_parameters,
    choices,
    expected_loss,
    held,
    one_draw,
    weight_parameters,
)
from discrete_lightning.nn.finite_scalar_quantizer import FiniteScalarQuantizer
from discrete_lightning.nn.gumbel_quantizer import GumbelQuantizer
from discrete_lightning.nn.large_gumbel_quantizer import LargeGumbelQuantizer
from discrete_lightning.nn.layer_chain import LayerChain
from discrete_lightning.nn.learned_vector_quantizer import LearnedVectorQuantizer
from discrete_lightning.nn.lookup_free_quantizer import LookupFreeQuantizer
from discrete_lightning.nn.nasbench201 import NASBench201
from discrete_lightning.nn.nearest_code_quantizer import NearestCodeQuantizer
from discrete_lightning.nn.one_of import OneOf, derive, disconnected, skip_share
from discrete_lightning.nn.operation_costs import check_options, operation_costs
from discrete_lightning.nn.product_quantizer import ProductQuantizer
from discrete_lightning.nn.relaxed import Relaxed, RelaxedBernoulli, RelaxedCategorical, relaxed, use_estimator
from discrete_lightning.nn.relaxed_subset import RelaxedSubset
from discrete_lightning.nn.residual_quantizer import ResidualQuantizer
from discrete_lightning.nn.scalar import Scalar, Temperature, Weight
from discrete_lightning.nn.search_space import Edge, SearchNetwork, SearchSpace
from discrete_lightning.nn.sequence_logits import SequenceLogits
from discrete_lightning.nn.vector_quantizer import VectorQuantizer

__all__ = [
    "Choice",
    "Codebook",
    "CompositeQuantizer",
    "DARTSSpace",
    "Draw",
    "Edge",
    "FiniteScalarQuantizer",
    "FixedDtype",
    "Float32State",
    "GumbelQuantizer",
    "LargeGumbelQuantizer",
    "LayerChain",
    "LearnedVectorQuantizer",
    "LookupFreeQuantizer",
    "NASBench201",
    "NearestCodeQuantizer",
    "OneOf",
    "ProductQuantizer",
    "Quantized",
    "Quantizer",
    "Relaxed",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "RelaxedSubset",
    "ResidualQuantizer",
    "Scalar",
    "SearchNetwork",
    "SearchSpace",
    "SequenceLogits",
    "Temperature",
    "VectorQuantizer",
    "Weight",
    "architecture_parameters",
    "check_options",
    "choices",
    "derive",
    "disconnected",
    "expected_loss",
    "held",
    "one_draw",
    "operation_costs",
    "relaxed",
    "skip_share",
    "use_estimator",
    "weight_parameters",
]
