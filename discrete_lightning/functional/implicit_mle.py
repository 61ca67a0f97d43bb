"""Implicit maximum likelihood, I-MLE (Niepert et al. 2021, https://arxiv.org/abs/2106.01798): perturb and take the best, twice.

    forward   D = the k best of logits + G, G Gumbel noise: an exact draw (Plackett-Luce)
    backward  (D - D') / l,   D' = the k best of logits - l g + G for the same noise;   g = df/dD;
              averaged over several noises G that lead to the same draw

The difference of the draw and of the one that the target distribution, at logits - l g, would have made; divided by l as in
Domke 2010, so that in the mean it is the Jacobian of the mean draw times g in the limit of a small l. Here l is
tau / (max g - min g) in each row: the target moves the logits by tau whatever the scale of the loss. Adaptive I-MLE (Minervini
et al. 2023, https://arxiv.org/abs/2209.04862) divides by the norm of g likewise. With a small tau most rows get 0. For subsets
the paper takes sums of Gamma noise, whose draws have no distribution in closed form; Gumbel noise has that of gumbel_top_k.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_rows, check_tau
from discrete_lightning.functional._keyed import KeyedGenerator, in_place_of
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.gumbel import perturb
from discrete_lightning.functional.gumbel_rao import conditional_gumbel
from discrete_lightning.functional.gumbel_rao_subset import conditional_gumbel_top_k
from discrete_lightning.functional.gumbel_top_k import all_chosen, check_k, k_hot_or_nan, largest


class _ImplicitMLE(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, noisy: Tensor, tau: Tensor, order: Tensor, valid: Tensor) -> Tensor:
        return k_hot_or_nan(logits, order, valid)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, noisy, tau, order, _ = inputs
        ctx.save_for_backward(noisy, tau, order)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        noisy, tau, order = ctx.saved_tensors
        g, masked = grad_outputs[0].to(noisy.dtype), noisy[0].isneginf()
        highest = g.masked_fill(masked, -torch.inf).amax(-1, keepdim=True)
        width = highest - g.masked_fill(masked, torch.inf).amin(-1, keepdim=True)
        step = tau / torch.where(width > 0, width, 1.0)
        target = (noisy - step * torch.where(masked, 0.0, g - highest)).topk(order.shape[-1], -1).indices
        other = torch.zeros_like(noisy).scatter(-1, target, 1.0).mean(0)
        drawn = torch.zeros_like(other).scatter(-1, order, 1.0)
        gradient = torch.where((width > 0) & ~masked, drawn - other, 0.0) / step
        return gradient.to(grad_outputs[0].dtype), None, None, None, None


def implicit_mle(
    logits: Tensor,
    tau: float | Tensor = 1.0,
    *,
    k: int = 1,
    samples: int = 10,
    generator: torch.Generator | None = None,
) -> Tensor:
    """k-hot draws without replacement, with the gradient of I-MLE.

    Args:
        logits: shape (..., K), any floating dtype; -inf masks a category.
        tau: how far the target distribution moves the logits, > 0; may be one a row, see `gumbel_softmax`. It gets no gradient.
        k: number of categories chosen, 1 <= k <= K. With k = K all are ones, with a gradient of zero.
        samples: of the noise that leads to the draw, >= 1. They are held until the backward pass.
        generator: source of randomness.

    Returns:
        k-hot vectors of the shape and dtype of `logits`.

    Raises:
        ValueError: if k is out of range, tau is not positive, samples < 1, or a row of `logits` has no subset of k categories.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> implicit_mle(torch.zeros(2, 5), k=3).sum(-1)
        tensor([3., 3.])
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    check_k(logits, k)
    check_tau(tau, logits=logits)
    if k > 1 and k == logits.shape[-1]:
        return all_chosen(logits)
    generator = in_place_of(generator)
    with torch.no_grad():
        scores = perturb(logits, generator)
        temperature = torch.as_tensor(tau, dtype=scores.dtype, device=scores.device)
        if k == 1:
            best, order = scores.max(-1, keepdim=True)
            check_rows(best - best, logits, -1)  # inf - inf and nan - nan are nan
            valid = (best - best).squeeze(-1)
        else:
            order, valid = largest(scores, logits, k)
        noisy = scores.unsqueeze(0)
        if samples > 1:
            noisy = _given_the_draw(torch.log_softmax(float32(logits), -1), order, samples, generator)
            valid = valid + (
                noisy[0].gather(-1, order)[..., 0] * 0
            )  # or a compiler moves the draw to the backward pass
    sample: Tensor = _ImplicitMLE.apply(logits, noisy, temperature, order, valid)
    return sample


def _given_the_draw(log_p: Tensor, order: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """Perturbed log-probabilities (samples, ..., K) whose k largest are `order`."""
    if order.shape[-1] == 1:
        rows, chosen = log_p.exp().reshape(-1, log_p.shape[-1]), order.reshape(-1)
        return conditional_gumbel(rows, chosen, samples=samples, generator=generator).view(samples, *log_p.shape)
    if isinstance(generator, KeyedGenerator):
        draws = [conditional_gumbel_top_k(log_p, order, generator=generator) for _ in range(samples)]
        return torch.stack(draws)
    many, orders = log_p.expand(samples, *log_p.shape), order.expand(samples, *order.shape)
    return conditional_gumbel_top_k(many, orders, generator=generator)
