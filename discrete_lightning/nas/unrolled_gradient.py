"""The second-order gradient of DARTS (Liu et al. 2018, equations 7 and 8, https://arxiv.org/abs/1806.09055).

w' = w - xi (m buffer + grad_w L_train(w, a) + d w)                               one step of SGD, unrolled
d L_val(w', a) / da = grad_a L_val(w', a) - xi [grad_a L_train(w+, a) - grad_a L_train(w-, a)] / (2 R)
w+- = w +- R v,  v = grad_w' L_val(w', a),  R = radius / |v|
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[], Tensor]
Reduce = Callable[[Sequence[Tensor]], list[Tensor]]


def _gradient(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [torch.zeros_like(x) if each is None else each for x, each in zip(inputs, found, strict=True)]


def _length(direction: Sequence[Tensor]) -> float:
    """The Euclidean norm of all entries together, to a relative error of 1e-5 or less.

    Entries are divided by the largest, so that their squares are in range, and summed in float32 or their own dtype.
    """
    given = [each.detach().abs() for each in direction if each.numel()]
    sizes = [each.to(torch.promote_types(each.dtype, torch.float32)) for each in given]
    largest = torch.stack([each.amax() for each in sizes]).amax()
    squares = torch.stack([(each / largest).square().sum() for each in sizes]).sum()
    return float(torch.where(largest > 0, largest * squares.sqrt(), largest))


def unrolled_gradient(
    train_loss: Loss,
    validation_loss: Loss,
    weights: Sequence[Tensor],
    architecture: Sequence[Tensor],
    *,
    step: float,
    momentum: float = 0.0,
    buffers: Sequence[Tensor | None] = (),
    weight_decay: float = 0.0,
    radius: float = 0.01,
    reduce: Reduce = list,
) -> list[Tensor]:
    """Gradient of the validation loss to the architecture after one step of the weights on the training loss.

    The mixed second derivative is a difference of two gradients, exact to O(radius^2). Weights are as before afterwards.

    Args:
        train_loss: scalar of the current values of `weights` and `architecture`; called three times.
        validation_loss: likewise; called once.
        weights: leaf tensors, changed in place meanwhile.
        architecture: leaf tensors.
        step: xi, the learning rate of the weights.
        momentum: m, of SGD.
        buffers: SGD's momentum buffers of the weights, None where there is none yet; nothing if empty.
        weight_decay: d, of SGD.
        radius: of the finite difference.
        reduce: mean of tensors over ranks, where the losses are those of one rank's examples.

    Returns:
        Gradients shaped like `architecture`.

    Example:
        >>> w, a = torch.tensor([1.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
        >>> train, validation = lambda: (w * a).square().sum(), lambda: w.square().sum()
        >>> unrolled_gradient(train, validation, [w], [a], step=0.1)[0].round(decimals=3)  # 2 w' dw'/da
        tensor([-0.3200])
    """
    held = [each.detach().clone() for each in weights]
    descent = reduce(_gradient(train_loss(), weights))
    momenta = list(buffers) or [None] * len(held)
    try:
        with torch.no_grad():
            for w, gradient, buffer in zip(weights, descent, momenta, strict=True):
                inertia = 0.0 if buffer is None else momentum * buffer
                w.sub_(step * (inertia + gradient + weight_decay * w))
        found = _gradient(validation_loss(), [*weights, *architecture])
        direction, direct = reduce(found[: len(held)]), found[len(held) :]
        length = _length(direction)
        if not length > 0:
            return reduce(direct)
        around = radius / length
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                for w, before, v in zip(weights, held, direction, strict=True):
                    w.copy_(before + sign * around * v)
            sides.append(_gradient(train_loss(), architecture))
    finally:
        with torch.no_grad():
            for w, before in zip(weights, held, strict=True):
                w.copy_(before)
    return reduce([d - step * (p - n) / (2 * around) for d, p, n in zip(direct, *sides, strict=True)])
