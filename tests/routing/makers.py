"""Small mixtures, one for each word that names a router."""

import torch
from torch import nn

from discrete_lightning.estimators import GumbelSoftmax, ReinMax, StraightThrough
from discrete_lightning.routing import ExpertMLP, MixtureOfExperts
from discrete_lightning.routing.routers import ROUTERS

DIM, HIDDEN, COUNT = 8, 16, 6
ONE = ("switch", "sampled", "paired", "reinmax", "gumbel")  # choose one expert a token
ESTIMATORS = {"reinmax": ReinMax(), "gumbel": GumbelSoftmax(), "straight_through_2": StraightThrough()}
NAMES = [*ROUTERS, *ESTIMATORS]


def mixture(name: str, count: int = COUNT, form: ExpertMLP | None = None, seed: int = 0) -> MixtureOfExperts:
    """A mixture whose router has logits of some size."""
    torch.manual_seed(seed)
    form = ExpertMLP(DIM, HIDDEN) if form is None else form
    k = 1 if name in ONE else 2
    layer = MixtureOfExperts(form, count, k, ESTIMATORS.get(name, name), tokens="bidirectional")
    nn.init.normal_(layer.router.weight)
    return layer


def gradients_of_scores(layer: MixtureOfExperts) -> list[torch.Tensor]:
    """The gradients that the router's logits get from now on, in the order of backward passes."""
    grads: list[torch.Tensor] = []
    scores = layer.router.scores

    def kept(x: torch.Tensor) -> torch.Tensor:
        logits = scores(x)
        logits.register_hook(grads.append)
        return logits

    layer.router.scores = kept  # type: ignore[method-assign]
    return grads


def same_draw(layer: MixtureOfExperts, x: torch.Tensor, mask: torch.Tensor | None = None, seed: int = 1):
    """(y, routed), of one draw."""
    torch.manual_seed(seed)
    y = layer(x, mask)
    torch.manual_seed(seed)
    return y, layer.router(x, mask)
