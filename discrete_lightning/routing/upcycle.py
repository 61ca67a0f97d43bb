"""Sparse upcycling: a mixture that goes on from a trained feed-forward (Komatsuzaki et al. 2022, arXiv 2212.05055)."""

import copy
from typing import Any

import torch
from torch import nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.routing.experts.experts import Experts
from discrete_lightning.routing.experts.mlp import ExpertMLP
from discrete_lightning.routing.experts.modules import StackedModules
from discrete_lightning.routing.mixture import MixtureOfExperts, Tokens, dim_of
from discrete_lightning.routing.router import Router

_ACTIVATIONS: dict[type[nn.Module], str] = {nn.GELU: "gelu", nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh"}


def upcycle(
    dense: nn.Module,
    count: int = 16,
    k: int = 2,
    router: str | Router | Estimator = "bias_balanced",
    tokens: Tokens = "causal",
    dim: int | None = None,
) -> MixtureOfExperts:
    """A mixture with a copy of `dense` as each expert; its first output equals that of `dense`.

    Linear, activation, Linear in an nn.Sequential become an `ExpertMLP`; other modules are stacked as they are. The experts
    part since the router sends them different tokens.

    Args:
        dense: a trained module (..., d) to (..., d).
        count: N.
        k: experts of a token.
        router: see `MixtureOfExperts`.
        tokens: see `MixtureOfExperts`.
        dim: d, if it cannot be seen from `dense`.

    Raises:
        ValueError: if the router's gates do not sum to 1: the first output would be another one.

    Example:
        >>> dense = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        >>> x = torch.randn(3, 4)
        >>> torch.allclose(upcycle(dense, count=4)(x), dense(x), atol=1e-6)
        True
    """
    layer = MixtureOfExperts(_copies(dense, count, dim), count, k, router, tokens)
    if not layer.router.gates_sum_to_one:
        raise ValueError(
            f"the gates of {type(layer.router).__name__} do not sum to 1, so that the first output would not be that of the "
            "dense module: take router='bias_balanced' or 'top_k' with k > 1, or 'paired'"
        )
    return layer.train(dense.training)


@torch.no_grad()
def _copies(dense: nn.Module, count: int, dim: int | None) -> Experts:
    parts: list[Any] = list(dense) if type(dense) is nn.Sequential else []
    if len(parts) != 3 or not (isinstance(parts[0], nn.Linear) and isinstance(parts[2], nn.Linear)):
        return StackedModules([copy.deepcopy(dense) for _ in range(count)], dim_of(dense) if dim is None else dim)
    first, act, last = parts
    is_exact = getattr(act, "approximate", "none") == "none"
    if type(act) not in _ACTIVATIONS or not is_exact or (first.bias is None) != (last.bias is None):
        return StackedModules([copy.deepcopy(dense) for _ in range(count)], first.in_features)
    if first.in_features != last.out_features:
        raise ValueError(
            f"an expert keeps the shape of its tokens: {first.in_features} go in, {last.out_features} come out"
        )
    form = ExpertMLP(first.in_features, first.out_features, _ACTIVATIONS[type(act)], bias=first.bias is not None)
    experts = form.stacked(count).to(first.weight)
    for weight, linear in ((experts.w_in, first), (experts.w_out, last)):
        weight.copy_(linear.weight.t().expand(weight.shape))
    for bias, linear in ((experts.b_in, first), (experts.b_out, last)):
        if bias is not None:
            bias.copy_(linear.bias.expand(bias.shape))
    return experts
