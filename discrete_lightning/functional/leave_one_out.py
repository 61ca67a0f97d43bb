"""Leave-one-out REINFORCE (Kool et al. 2019, https://openreview.net/forum?id=r1lgTGL5DE): unbiased for every function.

gradient = 1/m sum_i (f(D_i) - mean_{j != i} f(D_j)) grad log p(D_i),   D_1 ... D_m ~ p
"""

from torch import Tensor

from discrete_lightning.functional._checks import check_floating


def leave_one_out(losses: Tensor, log_probabilities: Tensor) -> Tensor:
    """The mean loss of m samples, with the leave-one-out gradient to the logits that they were drawn from.

    Args:
        losses: f(D_i), shape (m, ...) with m >= 2. Their own gradients (to a decoder, say) pass through the mean.
        log_probabilities: log p(D_i), same shape.

    Returns:
        float32 or float64 of shape (...).

    Raises:
        ValueError: if there are fewer than two samples, the shapes differ, or a tensor is not floating.

    Example:
        >>> import torch
        >>> leave_one_out(torch.tensor([1.0, 3.0]), torch.zeros(2))
        tensor(2.)
    """
    check_floating(losses, "losses")
    check_floating(log_probabilities, "log_probabilities")
    if losses.shape != log_probabilities.shape or not losses.ndim or len(losses) < 2:
        raise ValueError(
            "leave-one-out needs the losses and log-probabilities of two or more samples: "
            f"got shapes {tuple(losses.shape)} and {tuple(log_probabilities.shape)}"
        )
    values = losses.detach().to(log_probabilities.dtype)
    others = (values.sum(0) - values) / (len(losses) - 1)
    surrogate = ((values - others) * log_probabilities).mean(0)
    return losses.mean(0) + (surrogate - surrogate.detach())
