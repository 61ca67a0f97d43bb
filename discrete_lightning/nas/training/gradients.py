"""Gradients of one step of a search: of the choices with the weights left alone, and their mean over batches and ranks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import average_over_ranks
from discrete_lightning.nas.shared_draw import architecture_parameters, weight_parameters
from discrete_lightning.nas.unrolled_gradient import unrolled_gradient


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside the block these parameters require no gradient, so that nothing is stored for their gradients."""
    trained = [each for each in parameters if each.requires_grad]
    try:
        for each in trained:
            each.requires_grad_(False)
        yield
    finally:
        for each in trained:
            each.requires_grad_(True)


def gradients_of(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of a scalar to each parameter; zeros where it does not depend on it."""
    found: Sequence[Tensor | None] = [None] * len(parameters)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(x) if each is None else each for x, each in zip(parameters, found, strict=True)]


def add_gradients(parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Adds to `grad` of each parameter."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def unrolled_choice_gradients(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_loss: Callable[[], Tensor],
    validation_loss: Callable[[], Tensor],
) -> list[Tensor]:
    """The choices' gradient of the validation loss after one step of the weights, averaged over ranks: see `unrolled_gradient`.

    Args:
        network: whose weights and choices the losses are of.
        optimizer: SGD of the weights, of one parameter group.
        train_loss: scalar of this rank's examples.
        validation_loss: likewise.
    """
    weights, group = weight_parameters(network), optimizer.param_groups[0]
    return unrolled_gradient(
        train_loss,
        validation_loss,
        weights,
        architecture_parameters(network),
        step=group["lr"],
        momentum=group["momentum"],
        buffers=[optimizer.state[each].get("momentum_buffer") for each in weights],
        weight_decay=group["weight_decay"],
        reduce=average_over_ranks,
    )
