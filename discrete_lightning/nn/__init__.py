"""Modules with state. They know nothing of Lightning and work in plain PyTorch."""

from discrete_lightning.nn._float32 import Float32State
from discrete_lightning.nn.codebook import Codebook, Quantized
from discrete_lightning.nn.gumbel_quantizer import GumbelQuantizer
from discrete_lightning.nn.relaxed import Relaxed, RelaxedBernoulli, RelaxedCategorical, relaxed, use_estimator
from discrete_lightning.nn.relaxed_subset import RelaxedSubset
from discrete_lightning.nn.scalar import Scalar, Temperature, Weight
from discrete_lightning.nn.sequence_logits import SequenceLogits
from discrete_lightning.nn.vector_quantizer import VectorQuantizer

__all__ = [
    "Codebook",
    "Float32State",
    "GumbelQuantizer",
    "Quantized",
    "Relaxed",
    "RelaxedBernoulli",
    "RelaxedCategorical",
    "RelaxedSubset",
    "Scalar",
    "SequenceLogits",
    "Temperature",
    "VectorQuantizer",
    "Weight",
    "relaxed",
    "use_estimator",
]
