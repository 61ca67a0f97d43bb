"""KL(pi || ref), how far a policy has gone from a frozen reference: exactly, or from the actions that it drew
(Schulman 2020, http://joschu.net/blog/kl-approx.html; as losses: https://arxiv.org/abs/2512.21852).

    k1 = log pi - log ref      k2 = k1^2 / 2      k3 = s - 1 + k1, s = ref / pi      exact = sum_v pi_v (log pi_v - log ref_v)

on actions x drawn from pi. Expectations, and those of the gradients to pi when each is differentiated as a loss:

             E value                     E gradient
    k1       KL(pi || ref), unbiased     0: differentiate it never; subtract it from the reward
    k2       not KL (to second order)    grad KL(pi || ref)
    k3       KL(pi || ref), unbiased     grad KL(ref || pi), the other direction
    exact    KL(pi || ref)               grad KL(pi || ref)

k3 >= 0, but its variance is that of s: heavy-tailed where ref >> pi. All of this holds of whole actions: of a sequence, of the
sums over its tokens. The sum over positions of k1 or exact of each token, given the drawn words before it, is an unbiased
value of the sequence's KL; gradients of k2, k3 or exact summed that way leave out that earlier words change which later ones
come up.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from discrete_lightning.functional._checks import check_floating, host_number, values_can_be_read
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.entropy import kl_divergence

KLKind = Literal["k1", "k2", "k3", "exact"]


def kl_to_reference(log_p: Tensor, log_q: Tensor, kind: KLKind = "k1") -> Tensor:
    """KL(pi || ref) in nats: an estimate for each action that pi drew, or exact over all actions.

    As part of the reward use k1, as a loss k2 or exact: the table above says what each gives.

    Args:
        log_p: log pi: of the drawn actions, any shape; for "exact" of all actions, (..., V), -inf where pi excludes one.
        log_q: log ref, same shape. A reference is frozen: compute it without gradient.
        kind: which of the formulas above.

    Returns:
        float32 (float64 if both are), of the shape of `log_p`, for "exact" without its last dimension. +inf where the reference
        excludes what pi chose (for "exact": what pi allows). Values of k1 may be negative.

    Raises:
        ValueError: if the kind is unknown, the shapes differ, a tensor is not floating, or (on the CPU) a number is NaN or
            +inf, or log pi of a drawn action is -inf: pi cannot have drawn it; for "exact", if a row has no distribution.

    Example:
        >>> log_p, log_q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
        >>> kl_to_reference(log_p, log_q)
        tensor([ 0.6931, -0.4055])
        >>> kl_to_reference(log_p, log_q).mean(), kl_to_reference(log_p, log_q, "exact")  # each action once, as pi draws them
        (tensor(0.1438), tensor(0.1438))
    """
    if kind not in get_args(KLKind):
        raise ValueError(f"kind must be one of {', '.join(get_args(KLKind))}, got {kind!r}")
    check_floating(log_p, "log_p")
    check_floating(log_q, "log_q")
    if log_p.shape != log_q.shape:
        raise ValueError(
            f"log-probabilities of the same actions are compared, got shapes {tuple(log_p.shape)} and {tuple(log_q.shape)}"
        )
    if kind == "exact":
        return kl_divergence(log_p, log_q)
    _check(log_p, log_q)
    k1 = float32(log_p) - float32(log_q)
    if kind == "k1":
        return k1
    return k1.square() / 2 if kind == "k2" else torch.expm1(-k1) + k1


def _check(log_p: Tensor, log_q: Tensor) -> None:
    if not values_can_be_read(log_p):
        return
    impossible = ~log_p.detach().isfinite()
    wrong = log_q.detach().isnan() | log_q.detach().isposinf()
    if host_number((impossible | wrong).any()):
        raise ValueError(
            f"{int(impossible.sum())} of {log_p.numel()} log_p are not finite (pi cannot have drawn such an action), and "
            f"{int(wrong.sum())} log_q are NaN or +inf; shape {tuple(log_p.shape)}"
        )
