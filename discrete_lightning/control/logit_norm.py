"""Logits of a fixed scale, so that a temperature can be learned beside them."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.distributed import all_reduce_sum, world_size
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.constant_buffers import real_device
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState

_LEAST = 1e-12  # a mean square below which logits are equal


class LogitNorm(PrivateState, Float32State):
    """Centres the logits of each state, and divides them by their root mean square over all states.

    The root mean square is a number that `update` takes from a rollout, over all ranks; between updates it is constant, as the
    ratio of PPO needs. The gradient is that of a division by the root mean square of the batch itself, of all ranks, so that
    nothing is earned by larger logits:

        y = x / r,   gradient of x / r' with r' = r rms(x) / held rms(x)

    Example:
        >>> norm = LogitNorm()
        >>> norm.update(torch.tensor([[1.0, 3.0], [0.0, 4.0]]))
        >>> norm(torch.tensor([[1.0, 3.0], [0.0, 4.0]])).square().mean()
        tensor(1.)
    """

    root_mean_square: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_private("root_mean_square", torch.tensor(1.0, dtype=torch.float32, device=real_device()))

    def forward(self, logits: Tensor, counted: Tensor | None = None) -> Tensor:
        """Normed logits, float32, of the shape of `logits` (..., A); -inf stays.

        Args:
            logits: as the network gives them.
            counted: bool, of the first dimensions of `logits`: the states by which the gradient is normed; None: all.
        """
        centred, allowed = _centred(float32(logits))
        inside = allowed if counted is None else allowed & _expanded(counted, logits)
        r = self.root_mean_square.to(centred)
        if world_size() > 1 and centred.requires_grad:
            normed: Tensor = _OverRanks.apply(centred, inside, r)
            return torch.where(allowed, normed, -torch.inf)
        if centred.requires_grad and centred.numel():
            own = _root_mean_square(centred, inside)
            r = r * (own / own.detach())
        return torch.where(allowed, centred / r, -torch.inf)

    @torch.no_grad()
    def update(self, logits: Tensor, counted: Tensor | None = None) -> None:
        """Takes the root mean square of raw logits (..., A), over all ranks.

        Args:
            logits: as the network gives them.
            counted: bool, of the first dimensions of `logits`: the states that count.
        """
        centred, allowed = _centred(float32(logits))
        if counted is not None:
            allowed = allowed & _expanded(counted, logits)
        total, number = all_reduce_sum(
            torch.stack([centred.square().masked_fill(~allowed, 0.0).sum(), allowed.sum().to(centred)])
        )
        found = (total / number.clamp_min(1)).sqrt()
        # equal logits have no scale: they stay equal whatever they are divided by
        self.root_mean_square.copy_(torch.where(found > 1e-6, found, torch.ones_like(found)))


class _OverRanks(torch.autograd.Function):
    """x / r as above, for a loss of which each rank has its part: what x does to rms(x) concerns the parts of all ranks.

    Every rank must take as many backward passes; its own rows may be none.
    """

    @staticmethod
    def forward(ctx: Any, centred: Tensor, inside: Tensor, r: Tensor) -> Tensor:
        ctx.save_for_backward(centred, inside, r)
        return centred / r

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        centred, inside, r = ctx.saved_tensors
        (gradient,) = gradients
        counted = centred * inside
        parts = [(gradient * centred).sum(), counted.square().sum(), inside.sum().to(centred)]
        product, squares, number = all_reduce_sum(torch.stack(parts))
        share = torch.where(squares > _LEAST * number, product / squares, 0.0)
        return (gradient - share * counted) / r, None, None


def _centred(logits: Tensor) -> tuple[Tensor, Tensor]:
    allowed = ~logits.isneginf()
    finite = logits.masked_fill(~allowed, 0.0)
    mean = finite.sum(-1, keepdim=True) / allowed.sum(-1, keepdim=True).clamp_min(1)
    return (finite - mean).masked_fill(~allowed, 0.0), allowed


def _expanded(counted: Tensor, logits: Tensor) -> Tensor:
    return counted.reshape(*counted.shape, *[1] * (logits.ndim - counted.ndim))


def _root_mean_square(centred: Tensor, inside: Tensor) -> Tensor:
    return ((centred * inside).square().sum() / inside.sum().clamp_min(1)).clamp_min(_LEAST).sqrt()
