"""Every public function, estimator and loss that takes logits, as one table of calls: a new one is tested by being exported."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from discrete_lightning import functional, losses
from discrete_lightning.estimators import Estimator
from tests.references.every_estimator import PATHWISE, SCORE

Tau = float | Tensor


@dataclass(frozen=True)
class Call:
    """A call of logits (..., K) and a temperature that returns values.

    Attributes:
        run: takes logits and tau.
        kind: "categories", "subset" of two, "binary" for log-odds, or "weights" for non-negative numbers.
        takes_tau: whether tau is used, or at least checked.
    """

    run: Callable[[Tensor, Any], Any]
    kind: str = "categories"
    takes_tau: bool = False


def _without_tau(function: Callable[..., Any]) -> Callable[[Tensor, Any], Any]:
    return lambda logits, _: function(logits)


def _one_hot(logits: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(torch.zeros(logits.shape[:-1], dtype=torch.int64), max(1, logits.shape[-1]))


def _two_hot(logits: Tensor) -> Tensor:
    sample = torch.zeros(logits.shape)
    sample[..., :2] = 1
    return sample


def _log_probability(logits: Tensor) -> Tensor:
    return functional.log_probability(logits, _one_hot(logits)[..., : logits.shape[-1]])


def _summed(sample: Tensor) -> Tensor:
    return sample.flatten(2).sum(2)


_F = functional
_CATEGORIES = {
    name: Call(_without_tau(getattr(_F, name)))
    for name in (
        "categorical_one_hot",
        "draw_pair",
        "entmax",
        "entropy",
        "gumbel_max",
        "kl_to_uniform",
        "paired",
        "truncate_logits",
    )
}
_CATEGORIES |= {
    "indecater": Call(_without_tau(lambda x: _F.indecater(_summed, x))),
    "argmax_one_hot": Call(_without_tau(lambda x: _F.argmax_one_hot(x, x))),
    "kl_divergence": Call(_without_tau(lambda x: _F.kl_divergence(x, torch.zeros(x.shape[-1])))),
    "kl_divergence prior": Call(_without_tau(lambda x: _F.kl_divergence(torch.zeros(x.shape), x))),
    "log_probability": Call(_without_tau(_log_probability)),
    "kl_to_reference exact": Call(_without_tau(lambda x: _F.kl_to_reference(x, torch.zeros_like(x), "exact"))),
    "truncate_logits top_p": Call(_without_tau(lambda x: _F.truncate_logits(x, 0.7, top_p=0.0).softmax(-1))),
}
_CATEGORIES |= {
    name: Call(getattr(_F, name), takes_tau=True)
    for name in (
        "contracted_reinmax",
        "gapped_straight_through",
        "gumbel_rao",
        "gumbel_softmax",
        "implicit_mle",
        "redge",
        "reinmax",
        "reinmax_cv",
        "reinmax_rao",
        "softmax",
        "softmax_draw",
    )
}
_CATEGORIES["rebar"] = Call(lambda x, tau: _F.rebar(lambda b: b.flatten(1).sum(1), x, tau), takes_tau=True)
_CATEGORIES["relax"] = Call(lambda x, tau: _F.relax(lambda b: b.flatten(1).sum(1), None, x, tau), takes_tau=True)
_CATEGORIES["stratified_reinmax"] = Call(lambda x, tau: _F.stratified_reinmax(x, tau).sum(0), takes_tau=True)
_CATEGORIES["gumbel_softmax hard"] = Call(partial(_F.gumbel_softmax, hard=True), takes_tau=True)


def _two_of(function: Callable[..., Any]) -> Call:
    return Call(lambda logits, tau: function(logits, 2, tau), "subset", takes_tau=True)


_SUBSETS = {
    name: _two_of(getattr(_F, name))
    for name in (
        "contracted_reinmax_subset",
        "gapped_subset",
        "gumbel_rao_subset",
        "reinmax_subset",
        "relaxed_top_k",
        "simple_subset",
        "straight_through_subset",
    )
}
_SUBSETS |= {
    "relaxed_top_k hard": _two_of(partial(_F.relaxed_top_k, hard=True)),
    "relaxed_top_k without noise": _two_of(partial(_F.relaxed_top_k, noise=False)),
    "straight_through_subset forward": Call(
        lambda x, tau: _F.straight_through_subset(x, 2, forward_tau=tau), "subset", takes_tau=True
    ),
    "conditional_bernoulli": Call(_without_tau(lambda x: _F.conditional_bernoulli(x, 2)), "subset"),
    "gumbel_top_k": Call(_without_tau(lambda x: _F.gumbel_top_k(x, 2)), "subset"),
    "subset_k_hot": Call(_without_tau(lambda x: _F.subset_k_hot(x, 2)), "subset"),
    "top_k_hot": Call(_without_tau(lambda x: _F.top_k_hot(x, x, 2)), "subset"),
    "log_elementary_symmetric": Call(_without_tau(lambda x: _F.log_elementary_symmetric(x, 2)), "subset"),
    "log_probability subset": Call(_without_tau(lambda x: _F.log_probability(x, _two_hot(x), k=2)), "subset"),
    "log_probability conditional": Call(
        _without_tau(lambda x: _F.log_probability(x, _two_hot(x), k=2, subsets="conditional_bernoulli")), "subset"
    ),
    "subset_marginals": Call(_without_tau(lambda x: _F.subset_marginals(x, 2)), "subset"),
}
_BINARY = {
    "antithetic_bernoulli": Call(_without_tau(_F.antithetic_bernoulli), "binary"),
    "indecater binary": Call(_without_tau(lambda x: _F.indecater(_summed, x, binary=True)), "binary"),
    "binary_entropy": Call(_without_tau(_F.binary_entropy), "binary"),
    "binary_kl_to_uniform": Call(_without_tau(_F.binary_kl_to_uniform), "binary"),
    "disarm": Call(_without_tau(lambda x: _F.disarm(torch.zeros(2, len(x)), torch.zeros(2, *x.shape), x)), "binary"),
    "gumbel_sigmoid": Call(_F.gumbel_sigmoid, "binary", takes_tau=True),
    "gumbel_sigmoid hard": Call(partial(_F.gumbel_sigmoid, hard=True), "binary", takes_tau=True),
    "log_probability binary": Call(
        _without_tau(lambda x: _F.log_probability(x, torch.zeros(x.shape), binary=True)), "binary"
    ),
}
_WEIGHTS = {name: Call(_without_tau(getattr(_F, name)), "weights") for name in ("categorical", "perplexity")}
_WEIGHTS["stratified_categorical"] = Call(_without_tau(lambda x: _F.stratified_categorical(x, 3)), "weights")
FUNCTIONS: dict[str, Call] = {**_CATEGORIES, **_SUBSETS, **_BINARY, **_WEIGHTS}

# exported functions that take neither logits nor weights
NO_LOGITS = {"keyed_examples", "keyed_noise",
    "GumbelLookup", "Pair", "conditional_gumbel", "conditional_gumbel_top_k", "exponential_noise", "gumbel_lookup",
    "gumbel_noise", "largest_logit", "leave_one_out", "logistic_noise", "one_hot", "pair_slope", "policy_gradient",
    "straight_through", "straight_through_one_hot",
    "ChainState", "LogDensity", "MetropolisStep", "begin_chains", "discrete_langevin", "gibbs_with_gradients", "path_auxiliary",
}  # fmt: skip


def _expectation(estimator: Estimator, kind: str) -> Call:
    arguments: dict[str, Any] = {"categories": {}, "subset": {"k": 2}, "binary": {"binary": True}}[kind]

    def run(logits: Tensor, tau: Tau) -> Tensor:
        return estimator.expectation(
            lambda x: x if estimator.pathwise else x.flatten(x.ndim - logits.ndim + 1).sum(-1), logits, tau, **arguments
        )

    return Call(run, kind, takes_tau=True)


KINDS = ("categories", "subset", "binary")
ESTIMATORS: dict[str, Call] = {
    f"{estimator} {kind}": _expectation(estimator, kind)
    for estimator in (*PATHWISE, *SCORE)
    for kind in KINDS
    if kind == "binary" or (estimator.categorical and (kind != "subset" or estimator.chooses_subsets))
}
LOSSES: dict[str, Call] = {
    "EntropyBonus choice": Call(losses.EntropyBonus(choice=0.1), takes_tau=True),
    "EntropyBonus marginal": Call(losses.EntropyBonus(marginal=0.1), takes_tau=True),
    "CodeDiversity": Call(_without_tau(losses.CodeDiversity())),
    "KLToPrior": Call(_without_tau(losses.KLToPrior())),
    "choice_entropy": Call(_without_tau(losses.choice_entropy)),
    "code_diversity": Call(_without_tau(losses.code_diversity)),
    "kl_to_prior": Call(_without_tau(losses.kl_to_prior)),
    "kl_to_prior binary": Call(_without_tau(partial(losses.kl_to_prior, binary=True)), "binary"),
    "marginal_entropy": Call(_without_tau(losses.marginal_entropy)),
    "z_loss": Call(_without_tau(losses.z_loss)),
}
CALLS: dict[str, Call] = {**FUNCTIONS, **ESTIMATORS, **LOSSES}
