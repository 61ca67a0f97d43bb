"""Tensor functions of sampling and gradients: torch only, no state. One method a file, which begins with its paper."""

from discrete_lightning._lazy import former_names
from discrete_lightning.functional.categorical import categorical
from discrete_lightning.functional.conditional_bernoulli import (
    conditional_bernoulli,
    log_elementary_symmetric,
    subset_marginals,
)
from discrete_lightning.functional.contracted_reinmax import contracted_reinmax, contracted_reinmax_subset
from discrete_lightning.functional.disarm import antithetic_bernoulli, disarm
from discrete_lightning.functional.discrete_langevin import discrete_langevin
from discrete_lightning.functional.entmax import entmax
from discrete_lightning.functional.entropy import (
    binary_entropy,
    binary_kl_to_uniform,
    entropy,
    kl_divergence,
    kl_to_uniform,
    perplexity,
)
from discrete_lightning.functional.gapped_straight_through import gapped_straight_through
from discrete_lightning.functional.gapped_subset import gapped_subset
from discrete_lightning.functional.gibbs_with_gradients import gibbs_with_gradients
from discrete_lightning.functional.gumbel import (
    argmax_one_hot,
    categorical_one_hot,
    exponential_noise,
    gumbel_max,
    gumbel_noise,
)
from discrete_lightning.functional.gumbel_lookup import GumbelLookup, gumbel_lookup, largest_logit
from discrete_lightning.functional.gumbel_rao import conditional_gumbel, gumbel_rao
from discrete_lightning.functional.gumbel_rao_subset import conditional_gumbel_top_k, gumbel_rao_subset
from discrete_lightning.functional.gumbel_sigmoid import gumbel_sigmoid, logistic_noise
from discrete_lightning.functional.gumbel_softmax import gumbel_softmax
from discrete_lightning.functional.gumbel_top_k import gumbel_top_k, subset_k_hot, top_k_hot
from discrete_lightning.functional.implicit_mle import implicit_mle
from discrete_lightning.functional.indecater import indecater
from discrete_lightning.functional.keyed_noise import keyed_examples, keyed_noise
from discrete_lightning.functional.kl_to_reference import kl_to_reference
from discrete_lightning.functional.leave_one_out import leave_one_out
from discrete_lightning.functional.log_probability import log_probability
from discrete_lightning.functional.metropolis_hastings import ChainState, LogDensity, MetropolisStep, begin_chains
from discrete_lightning.functional.paired import Pair, draw_pair, pair_slope, paired
from discrete_lightning.functional.path_auxiliary import path_auxiliary
from discrete_lightning.functional.policy_gradient import policy_gradient
from discrete_lightning.functional.rebar import rebar
from discrete_lightning.functional.redge import redge
from discrete_lightning.functional.reinmax import reinmax
from discrete_lightning.functional.reinmax_cv import reinmax_cv
from discrete_lightning.functional.reinmax_rao import reinmax_rao
from discrete_lightning.functional.reinmax_subset import reinmax_subset
from discrete_lightning.functional.relax import relax
from discrete_lightning.functional.relaxed_top_k import relaxed_top_k
from discrete_lightning.functional.simple_subset import simple_subset
from discrete_lightning.functional.softmax import softmax
from discrete_lightning.functional.softmax_draw import softmax_draw
from discrete_lightning.functional.straight_through import one_hot, straight_through, straight_through_one_hot
from discrete_lightning.functional.straight_through_subset import straight_through_subset
from discrete_lightning.functional.stratified_categorical import stratified_categorical
from discrete_lightning.functional.stratified_reinmax import stratified_reinmax
from discrete_lightning.functional.truncate_logits import truncate_logits

__all__ = [
    "ChainState",
    "GumbelLookup",
    "LogDensity",
    "MetropolisStep",
    "Pair",
    "antithetic_bernoulli",
    "argmax_one_hot",
    "begin_chains",
    "binary_entropy",
    "binary_kl_to_uniform",
    "categorical",
    "categorical_one_hot",
    "conditional_bernoulli",
    "conditional_gumbel",
    "conditional_gumbel_top_k",
    "contracted_reinmax",
    "contracted_reinmax_subset",
    "disarm",
    "discrete_langevin",
    "draw_pair",
    "entmax",
    "entropy",
    "exponential_noise",
    "gapped_straight_through",
    "gapped_subset",
    "gibbs_with_gradients",
    "gumbel_lookup",
    "gumbel_max",
    "gumbel_noise",
    "gumbel_rao",
    "gumbel_rao_subset",
    "gumbel_sigmoid",
    "gumbel_softmax",
    "gumbel_top_k",
    "implicit_mle",
    "indecater",
    "keyed_examples",
    "keyed_noise",
    "kl_divergence",
    "kl_to_reference",
    "kl_to_uniform",
    "largest_logit",
    "leave_one_out",
    "log_elementary_symmetric",
    "log_probability",
    "logistic_noise",
    "one_hot",
    "pair_slope",
    "paired",
    "path_auxiliary",
    "perplexity",
    "policy_gradient",
    "rebar",
    "redge",
    "reinmax",
    "reinmax_cv",
    "reinmax_rao",
    "reinmax_subset",
    "relax",
    "relaxed_top_k",
    "simple_subset",
    "softmax",
    "softmax_draw",
    "straight_through",
    "straight_through_one_hot",
    "straight_through_subset",
    "stratified_categorical",
    "stratified_reinmax",
    "subset_k_hot",
    "subset_marginals",
    "top_k_hot",
    "truncate_logits",
]

_VQ = (
    "FiniteScalar check_levels code_statistics codes_from_statistics commitment_loss ema_update_ finite_scalar "
    "finite_scalar_decode kmeans lookup_free lookup_free_decode nearest_code rotate soft_code_marginals"
)
__getattr__ = former_names(
    __name__,
    {name: f"discrete_lightning.vq.functional.{name}" for name in _VQ.split()}
    | {
        "finite_scalar_remainder": "discrete_lightning.vq.functional.finite_scalar_residual",
        "unrolled_gradient": "discrete_lightning.nas.unrolled_gradient",
    },
)
