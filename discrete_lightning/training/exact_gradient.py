"""The exact gradient of an expectation over discrete variables, by enumerating every state."""

import itertools

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from discrete_lightning.functional import log_probability
from discrete_lightning.protocols import EnumeratesLoss


def every_state(event: tuple[int, ...], binary: bool) -> Tensor:
    """All states of the variables of one example, as samples (S, *event).

    Args:
        event: (..., K) of categorical variables, or the shape of binary ones.
        binary: which of the two.
    """
    values = 2 if binary else event[-1]
    variables = torch.Size(event if binary else event[:-1]).numel()
    index = torch.tensor(list(itertools.product(range(values), repeat=variables))).view(-1, variables)
    if binary:
        return index.float().view(-1, *event)
    return torch.nn.functional.one_hot(index, values).float().view(-1, *event)


def exact_gradient(module: LightningModule, batch: object, max_states: int) -> Tensor | None:
    """Gradient of the mean expected loss to the logits, flat float32.

    Args:
        module: one with `enumerate_loss(batch) -> (layer, logits, function)`, see GradientProbe.
        batch: its argument.
        max_states: the largest number of states of an example.

    Returns:
        None if the module has no such method, or more states.
    """
    if not isinstance(module, EnumeratesLoss):
        return None
    layer, logits, function = module.enumerate_loss(batch)
    logits = logits.detach().float().requires_grad_()
    event = tuple(logits.shape[1:])
    values = 2 if layer.binary else event[-1]
    variables = logits[0].numel() // (1 if layer.binary else event[-1])
    if values**variables > max_states:
        return None
    states = every_state(event, layer.binary).to(logits.device).unsqueeze(1)
    with torch.no_grad():
        losses = function(states.expand(-1, len(logits), *event)).float()
    log_p = log_probability(layer.scores(logits), states.expand(-1, *logits.shape), binary=layer.binary)
    expected = (log_p.reshape(*log_p.shape[:2], -1).sum(2).exp() * losses).sum(0).mean()
    (gradient,) = torch.autograd.grad(expected, logits)
    return gradient.flatten()
