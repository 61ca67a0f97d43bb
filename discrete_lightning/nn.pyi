from discrete_lightning.control.bonuses.base import IntrinsicBonus as IntrinsicBonus
from discrete_lightning.control.bonuses.counts import CountBonus as CountBonus
from discrete_lightning.control.logit_norm import LogitNorm as LogitNorm
from discrete_lightning.control.networks import ControlMLP as ControlMLP
from discrete_lightning.control.policy import ActionChoice as ActionChoice
from discrete_lightning.control.policy import CategoricalPolicy as CategoricalPolicy
from discrete_lightning.control.running_norm import RunningNorm as RunningNorm
from discrete_lightning.design.search.sequence_logits import SequenceLogits as SequenceLogits
from discrete_lightning.layers.causal_attention import CausalAttention as CausalAttention
from discrete_lightning.layers.choices import Choices as Choices
from discrete_lightning.layers.choices import choices_made as choices_made
from discrete_lightning.layers.float32 import FixedDtype as FixedDtype
from discrete_lightning.layers.float32 import Float32State as Float32State
from discrete_lightning.layers.relaxed import Relaxed as Relaxed
from discrete_lightning.layers.relaxed import RelaxedBernoulli as RelaxedBernoulli
from discrete_lightning.layers.relaxed import RelaxedCategorical as RelaxedCategorical
from discrete_lightning.layers.relaxed_embedding import RelaxedEmbedding as RelaxedEmbedding
from discrete_lightning.layers.relaxed_in_eval import relaxed as relaxed
from discrete_lightning.layers.relaxed_subset import RelaxedSubset as RelaxedSubset
from discrete_lightning.layers.step_updates import update_after_step as update_after_step
from discrete_lightning.layers.temperature import LossWeight as LossWeight
from discrete_lightning.layers.temperature import Scheduled as Scheduled
from discrete_lightning.layers.temperature import Temperature as Temperature
from discrete_lightning.layers.use_estimator import use_estimator as use_estimator
from discrete_lightning.nas.choice import ArchitectureChoice as ArchitectureChoice
from discrete_lightning.nas.draw import Draw as Draw
from discrete_lightning.nas.one_of import OneOf as OneOf
from discrete_lightning.nas.spaces.darts import DARTSSpace as DARTSSpace
from discrete_lightning.nas.spaces.inverted_residuals import InvertedResidualSpace as InvertedResidualSpace
from discrete_lightning.nas.spaces.inverted_residuals import LayerChain as LayerChain
from discrete_lightning.nas.spaces.nasbench201 import NASBench201 as NASBench201
from discrete_lightning.nas.spaces.space import Edge as Edge
from discrete_lightning.nas.spaces.space import SearchNetwork as SearchNetwork
from discrete_lightning.nas.spaces.space import SearchSpace as SearchSpace
from discrete_lightning.routing.conditional import Conditional as Conditional
from discrete_lightning.routing.experts.experts import Experts as Experts
from discrete_lightning.routing.experts.mlp import ExpertMLP as ExpertMLP
from discrete_lightning.routing.experts.mlp import StackedMLP as StackedMLP
from discrete_lightning.routing.experts.modules import StackedModules as StackedModules
from discrete_lightning.routing.mixture import MixtureOfExperts as MixtureOfExperts
from discrete_lightning.routing.routed import Routed as Routed
from discrete_lightning.routing.router import Router as Router
from discrete_lightning.routing.routers.bias_balanced import BiasBalancedRouter as BiasBalancedRouter
from discrete_lightning.routing.routers.expert_choice import ExpertChoiceRouter as ExpertChoiceRouter
from discrete_lightning.routing.routers.noisy_top_k import NoisyTopKRouter as NoisyTopKRouter
from discrete_lightning.routing.routers.remoe import ReMoERouter as ReMoERouter
from discrete_lightning.routing.routers.sampled import SampledRouter as SampledRouter
from discrete_lightning.routing.routers.switch import SwitchRouter as SwitchRouter
from discrete_lightning.routing.routers.top_k import TopKRouter as TopKRouter
from discrete_lightning.routing.token_gate import TokenGate as TokenGate
from discrete_lightning.routing.upcycle import upcycle as upcycle
from discrete_lightning.selection.gates.concrete_selector import ConcreteSelector as ConcreteSelector
from discrete_lightning.selection.gates.gate import Gate as Gate
from discrete_lightning.selection.gates.hard_concrete import HardConcrete as HardConcrete
from discrete_lightning.selection.gates.select_k import SelectK as SelectK
from discrete_lightning.selection.gates.stochastic_gate import StochasticGate as StochasticGate
from discrete_lightning.selection.mask_linear import mask_linear as mask_linear
from discrete_lightning.selection.mask_linear import remove_masks as remove_masks
from discrete_lightning.selection.networks.derived_network import DerivedNetwork as DerivedNetwork
from discrete_lightning.selection.networks.gated_conv_net import GatedConvNet as GatedConvNet
from discrete_lightning.selection.networks.gated_transformer import GatedTransformer as GatedTransformer
from discrete_lightning.selection.pattern_mask import PatternMask as PatternMask
from discrete_lightning.text.judges.classifier import ClassifierJudge as ClassifierJudge
from discrete_lightning.text.judges.judge import Judge as Judge
from discrete_lightning.text.judges.language import LanguageJudge as LanguageJudge
from discrete_lightning.text.networks.gru import GRUNetwork as GRUNetwork
from discrete_lightning.text.networks.token_network import TokenNetwork as TokenNetwork
from discrete_lightning.text.networks.transformer import TransformerNetwork as TransformerNetwork
from discrete_lightning.text.token_choice import TokenChoice as TokenChoice
from discrete_lightning.vq.codebook_updates import update_codebooks_after_step as update_codebooks_after_step
from discrete_lightning.vq.quantized import Quantized as Quantized
from discrete_lightning.vq.quantizer import Codebook as Codebook
from discrete_lightning.vq.quantizer import Quantizer as Quantizer
from discrete_lightning.vq.quantizers.composite import CompositeQuantizer as CompositeQuantizer
from discrete_lightning.vq.quantizers.differentiable_vector import (
    DifferentiableVectorQuantizer as DifferentiableVectorQuantizer,
)
from discrete_lightning.vq.quantizers.factorized import FactorizedQuantizer as FactorizedQuantizer
from discrete_lightning.vq.quantizers.finite_scalar import FiniteScalarQuantizer as FiniteScalarQuantizer
from discrete_lightning.vq.quantizers.finite_scalar_perturbation import (
    FiniteScalarPerturbationQuantizer as FiniteScalarPerturbationQuantizer,
)
from discrete_lightning.vq.quantizers.gumbel import GumbelQuantizer as GumbelQuantizer
from discrete_lightning.vq.quantizers.index_backpropagation import (
    IndexBackpropagationQuantizer as IndexBackpropagationQuantizer,
)
from discrete_lightning.vq.quantizers.large_gumbel import LargeGumbelQuantizer as LargeGumbelQuantizer
from discrete_lightning.vq.quantizers.learned_vector import LearnedVectorQuantizer as LearnedVectorQuantizer
from discrete_lightning.vq.quantizers.linear_gumbel import LinearGumbelQuantizer as LinearGumbelQuantizer
from discrete_lightning.vq.quantizers.lookup_free import LookupFreeQuantizer as LookupFreeQuantizer
from discrete_lightning.vq.quantizers.nearest_code import NearestCodeQuantizer as NearestCodeQuantizer
from discrete_lightning.vq.quantizers.product import ProductQuantizer as ProductQuantizer
from discrete_lightning.vq.quantizers.residual import ResidualQuantizer as ResidualQuantizer
from discrete_lightning.vq.quantizers.sim_vector import SimVectorQuantizer as SimVectorQuantizer
from discrete_lightning.vq.quantizers.vector import VectorQuantizer as VectorQuantizer
