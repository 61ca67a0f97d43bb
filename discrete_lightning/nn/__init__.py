"""Modules with state. They know nothing of Lightning and work in plain PyTorch."""

from discrete_lightning.nn.codebook import Codebook, Quantized, Quantizer
from discrete_lightning.nn.composite_quantizer import CompositeQuantizer
from discrete_lightning.nn.finite_scalar_quantizer import FiniteScalarQuantizer
from discrete_lightning.nn.gumbel_quantizer import GumbelQuantizer
from discrete_lightning.nn.large_gumbel_quantizer import LargeGumbelQuantizer
from discrete_lightning.nn.learned_vector_quantizer import LearnedVectorQuantizer
from discrete_lightning.nn.lookup_free_quantizer import LookupFreeQuantizer
from discrete_lightning.nn.nearest_code_quantizer import NearestCodeQuantizer
from discrete_lightning.nn.product_quantizer import ProductQuantizer
from discrete_lightning.nn.relaxed import Relaxed, RelaxedBernoulli, RelaxedCategorical, relaxed, use_estimator
from discrete_lightning.nn.relaxed_subset import RelaxedSubset
from discrete_lightning.nn.residual_quantizer import ResidualQuantizer
from discrete_lightning.nn.scalar import Scalar, Temperature, Weight
from discrete_lightning.nn.vector_quantizer import VectorQuantizer

__all__ = [
    "Codebook",
    "CompositeQuantizer",
    "FiniteScalarQuantizer",
    "GumbelQuantizer",
    "LargeGumbelQuantizer",
    "LearnedVectorQuantizer",
    "LookupFreeQuantizer",
    "NearestCodeQuantizer",
    "ProductQuantizer",
    "Quantized",
    "Quantizer",
    "Relaxed",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "RelaxedSubset",
    "ResidualQuantizer",
    "Scalar",
    "Temperature",
    "VectorQuantizer",
    "Weight",
    "relaxed",
    "use_estimator",
]
