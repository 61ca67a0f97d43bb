"""Codebooks: quantisers of vectors, in plain PyTorch. Their Lightning part is `discrete_lightning.vq.training`."""

from discrete_lightning.vq import choices as _choices  # noqa: F401 - tells ChoiceMonitor what a codebook chose
from discrete_lightning.vq.codebook_updates import update_codebooks_after_step
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizer import Codebook, Quantizer
from discrete_lightning.vq.quantizers.composite import CompositeQuantizer
from discrete_lightning.vq.quantizers.diveq import DifferentiableVectorQuantizer
from discrete_lightning.vq.quantizers.factorized import FactorizedQuantizer
from discrete_lightning.vq.quantizers.finite_scalar import FiniteScalarQuantizer
from discrete_lightning.vq.quantizers.gumbel import GumbelQuantizer
from discrete_lightning.vq.quantizers.ibq import IndexBackpropagationQuantizer
from discrete_lightning.vq.quantizers.large_gumbel import LargeGumbelQuantizer
from discrete_lightning.vq.quantizers.learned_vector import LearnedVectorQuantizer
from discrete_lightning.vq.quantizers.linear_gumbel import LinearGumbelQuantizer
from discrete_lightning.vq.quantizers.lookup_free import LookupFreeQuantizer
from discrete_lightning.vq.quantizers.nearest_code import NearestCodeQuantizer
from discrete_lightning.vq.quantizers.product import ProductQuantizer
from discrete_lightning.vq.quantizers.residual import ResidualQuantizer
from discrete_lightning.vq.quantizers.scalar_perturbation import FiniteScalarPerturbation
from discrete_lightning.vq.quantizers.sim_vector import SimVectorQuantizer
from discrete_lightning.vq.quantizers.vector import VectorQuantizer

__all__ = [
    "Codebook",
    "CompositeQuantizer",
    "DifferentiableVectorQuantizer",
    "FactorizedQuantizer",
    "FiniteScalarPerturbation",
    "FiniteScalarQuantizer",
    "GumbelQuantizer",
    "IndexBackpropagationQuantizer",
    "LargeGumbelQuantizer",
    "LearnedVectorQuantizer",
    "LinearGumbelQuantizer",
    "LookupFreeQuantizer",
    "NearestCodeQuantizer",
    "ProductQuantizer",
    "Quantized",
    "Quantizer",
    "ResidualQuantizer",
    "SimVectorQuantizer",
    "VectorQuantizer",
    "update_codebooks_after_step",
]
