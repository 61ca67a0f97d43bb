"""The gradient of a reward less a KL brake, for sequences of choices drawn from a policy.

    J = E [sum_t r_t] - beta KL(pi || ref),   KL(pi || ref) = E sum_t KL_t,   KL_t = KL(pi(. | past) || ref(. | past))

    gradient of J = E sum_t [ (G_t - b_t) grad log pi(choice_t | past) - beta grad KL_t ]
    G_t = sum_{s >= t} r_s - beta sum_{s > t} KL_s

KL_t is the exact sum over all choices, so that the noise of the choice itself is in neither of its terms (Rao-Blackwell; Amini
et al. 2025, https://arxiv.org/abs/2504.10637). The optimum over all policies is ref exp(r / beta) / Z. The baseline b_t is the
mean of G_t of the other sequences that still go on at t (leave-one-out: Kool et al. 2019; RLOO: Ahmadian et al. 2024,
https://arxiv.org/abs/2402.14740), of those in the same stage (line, say). It depends on the past and on other sequences, not
on the choice, so that the gradient is unbiased.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._precision import float32, float32_matmul, without_autocast
from discrete_lightning.functional.policy_gradient import policy_gradient


class SequenceLoss(NamedTuple):
    """What `sequence_policy_gradient` returns.

    Attributes:
        loss: 0-dim, minus the mean of reward - beta KL; its gradient is the estimate.
        reward: 0-dim, the mean sum of rewards.
        kl: 0-dim, the mean sum of exact KL_t, nats: unbiased for KL(pi || ref).
    """

    loss: Tensor
    reward: Tensor
    kl: Tensor


def sequence_policy_gradient(
    rewards: Tensor,
    log_probabilities: Tensor,
    kl: Tensor | None = None,
    beta: float = 0.0,
    *,
    mask: Tensor | None = None,
    stage: Tensor | None = None,
) -> SequenceLoss:
    """Minus E reward + beta KL(pi || ref), as a loss whose gradient is the score-function gradient with exact KL terms.

    Args:
        rewards: r_t (m, T), each at the choice that earned it (a line's at its last word): choices up to it are credited,
            those after it are not. No gradient passes.
        log_probabilities: log pi(choice_t | past), (m, T), with the gradient of the policy. The m >= 2 sequences start alike,
            and were drawn from the policy itself: not tempered, not truncated.
        kl: KL_t (m, T), with the gradient of the policy: `kl_to_reference(log_pi, log_ref, "exact")`.
        beta: weight of the KL, >= 0.
        mask: bool (m, T), False after the end of a sequence.
        stage: integers (m, T); sequences are compared at equal steps of equal stages. By default the step alone counts.

    Raises:
        ValueError: if the shapes do not fit, beta is negative, the mask is not bool, or a reward is NaN or infinite.

    Example:
        >>> logits = torch.zeros(2, 1, 2, requires_grad=True)
        >>> log_p = logits.log_softmax(-1)[[0, 1], [0, 0], [0, 1]].unsqueeze(1)  # one choice each: the first, the second
        >>> result = sequence_policy_gradient(torch.tensor([[1.0], [0.0]]), log_p)
        >>> result.loss.backward()
        >>> result.loss.item(), logits.grad.sum(0)[0]
        (-0.5, tensor([-0.5000,  0.5000]))
    """
    shapes = [tuple(each.shape) for each in (rewards, log_probabilities, kl, mask, stage) if each is not None]
    if rewards.ndim != 2 or len(set(shapes)) > 1:
        raise ValueError(f"rewards, log_probabilities, kl, mask and stage are (m, T) each, got {shapes}")
    if not beta >= 0:
        raise ValueError(f"beta, the weight of the KL, is 0 or more, got {beta}")
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"a mask is bool, True where a sequence goes on, got {mask.dtype}")
    log_p = float32(log_probabilities)
    going = torch.ones_like(rewards, dtype=torch.bool) if mask is None else mask
    r = rewards.detach().to(log_p.dtype).masked_fill(~going, 0.0)
    k = torch.zeros_like(r) if kl is None else float32(kl).to(log_p.dtype).masked_fill(~going, 0.0)
    held, count = k.detach(), max(1, len(r))
    # a choice earns what follows; the KL of its own step has its exact gradient
    to_go = _following(r - beta * held) + beta * held
    baseline = _others(to_go, going, torch.zeros_like(r, dtype=torch.int64) if stage is None else stage)
    score = policy_gradient(to_go, log_p.masked_fill(~going, 0.0), baseline, mask=going) * (going.sum() / count)
    brake = beta * k.sum() / count
    reward, total_kl = r.sum() / count, held.sum() / count
    value = beta * total_kl - reward
    return SequenceLoss(value + (score - score.detach()) + (brake - brake.detach()), reward, total_kl)


@without_autocast
@float32_matmul
def _following(values: Tensor) -> Tensor:
    """The sum of each value and those after it, (m, T). On CUDA a running sum of floats has no order; a product has."""
    length = values.shape[1]
    return values @ torch.ones(length, length, dtype=values.dtype, device=values.device).tril()


def _others(values: Tensor, mask: Tensor, stage: Tensor) -> Tensor:
    """For each sequence and step the mean of the values of the other sequences at this step and stage; 0 without others."""
    result = torch.zeros_like(values)
    for each in stage[mask].unique().tolist():
        here = mask & (stage == each)
        number = here.sum(0, keepdim=True)
        total = (values * here).sum(0, keepdim=True)
        mean = (total - values) / (number - 1).clamp_min(1)
        result = torch.where(here & (number > 1), mean, result)
    return result
