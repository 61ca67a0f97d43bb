"""The rotation trick (Fifty et al. 2024, https://arxiv.org/abs/2410.06424): vector quantisation whose gradient is turned
with the vector.

    forward   q
    backward  (|q| / |e|) R^T g,   R the rotation that takes e / |e| to q / |q|:   R = I - 2 r r^T + 2 q^ e^T,
              r = (e^ + q^) / |e^ + q^|,   e^ = e / |e|,   q^ = q / |q|     (eq. 4, section 4.2)

Straight-through moves the gradient of q to e as it is; this keeps its angle to the vector.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating
from discrete_lightning.functional._precision import float32

_TINY = 1e-6


class _Rotation(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, vectors: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        q, e = (float32(x) for x in ctx.saved_tensors)
        g = grad_outputs[0].to(q.dtype)
        q_norm, e_norm = q.norm(dim=-1, keepdim=True), e.norm(dim=-1, keepdim=True)
        q_hat, e_hat = q / q_norm.clamp_min(_TINY), e / e_norm.clamp_min(_TINY)
        middle = q_hat + e_hat
        length = middle.norm(dim=-1, keepdim=True)
        r = middle / length.clamp_min(_TINY)
        turned = g - 2 * r * (r * g).sum(-1, keepdim=True) + 2 * e_hat * (q_hat * g).sum(-1, keepdim=True)
        turned = turned * (q_norm / e_norm.clamp_min(_TINY))
        # no rotation is defined at the origin, and between opposite vectors any of many
        defined = (q_norm > _TINY) & (e_norm > _TINY) & (length > _TINY)
        return None, torch.where(defined, turned, g).to(ctx.saved_tensors[1].dtype)


def rotate(value: Tensor, vectors: Tensor) -> Tensor:
    """Returns `value`, bit for bit, and sends its gradient, turned and scaled, to `vectors`.

    Where a vector or its code is 0, or they are opposite, the gradient passes straight through.

    Args:
        value: codes, shape (..., D); no gradient.
        vectors: what was quantised, same shape.

    Raises:
        ValueError: if the shapes differ, or a tensor is not floating.

    Example:
        >>> x = torch.tensor([1.0, 0.0], requires_grad=True)
        >>> rotate(torch.tensor([0.0, 2.0]), x).backward(torch.tensor([0.0, 1.0]))
        >>> x.grad.round(decimals=4)  # the gradient along the code has become one along the vector, twice as long
        tensor([2., 0.])
    """
    check_floating(value, "value")
    check_floating(vectors, "vectors")
    if value.shape != vectors.shape:
        raise ValueError(f"each vector needs its code: vectors {tuple(vectors.shape)}, codes {tuple(value.shape)}")
    return _Rotation.apply(value.detach(), vectors)
