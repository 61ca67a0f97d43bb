"""The losses of all mixtures in a model."""

import torch
from torch import Tensor, nn

from discrete_lightning.routing.mixture import MixtureOfExperts


def routing_loss(module: nn.Module) -> Tensor:
    """The sum of the balance and z-losses, with their weights, of the last training pass of each `MixtureOfExperts`; add it to
    the loss.

    Mixtures are found by type. It is 0 in eval(), where there is none, and where all weights are 0.

    Raises:
        RuntimeError: if a loss has lost its graph in activation checkpointing.

    Example:
        >>> from discrete_lightning.routing import ExpertMLP, SwitchRouter
        >>> layer = MixtureOfExperts(ExpertMLP(4, 8), count=2, k=1, router=SwitchRouter(4, 2, balance=0.5))
        >>> _ = layer(torch.zeros(6, 4))
        >>> routing_loss(layer).item()  # of equal probabilities
        0.5
    """
    total: Tensor | None = None
    for each in module.modules():
        if not isinstance(each, MixtureOfExperts) or each.loss is None or not each.router.training:
            continue
        trained = each.router.weight.requires_grad and torch.is_grad_enabled()
        if trained and each.router.has_loss and not each.loss_was_recorded:
            raise RuntimeError(
                "the loss of a mixture has no graph: activation checkpointing with use_reentrant=True drops what a layer does "
                "not return; give checkpoint(..., use_reentrant=False)"
            )
        total = each.loss if total is None else total + each.loss.to(total.device)
    return torch.zeros(()) if total is None else total
