"""The loss of a generator whose lines a frozen judge scores, with a KL brake to the model that it started from.

    loss = mean over lines of  -score(line) + beta sum_t KL(pi(. | x_<t) || ref(. | x_<t))

The KL is exact at each token, for the prefixes that were drawn. With a `TokenChoice` the score's gradient passes through the
tokens (by its estimator), and that of the KL through its terms, the prefixes taken as given. Without one it is the
leave-one-out score function (Kool et al. 2019; Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740), whose baseline is the
mean loss of the other lines: unbiased, the prefixes included, for every judge.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional import kl_divergence, leave_one_out
from discrete_lightning.functional._precision import float32, without_autocast
from discrete_lightning.text.judges.judge import Judge
from discrete_lightning.text.networks.token_network import TokenNetwork
from discrete_lightning.text.recomputed import recomputed
from discrete_lightning.text.relaxed_unroll import relaxed_unroll
from discrete_lightning.text.token_choice import TokenChoice

_ELEMENTS = 1 << 19


class JudgedLines(NamedTuple):
    """What `judged_lines` returns.

    Attributes:
        loss: 0-dim.
        scores: (B,), of the judge, without a gradient.
        kl: (B,), in nats a line, without a gradient.
        tokens: int64 (B, T).
        mask: bool (B, T), True up to the end token.
    """

    loss: Tensor
    scores: Tensor
    kl: Tensor
    tokens: Tensor
    mask: Tensor


def judged_lines(
    network: TokenNetwork,
    reference: TokenNetwork,
    judge: Judge,
    prompt: Tensor,
    length: int,
    *,
    choice: TokenChoice | None,
    kl_weight: float | Tensor,
    end: int | None = None,
    through_last: int | None = 0,
    generator: torch.Generator | None = None,
) -> JudgedLines:
    """Draws lines, and returns the loss that trains the generator on the judge's scores.

    Args:
        network: the generator.
        reference: the model that the KL is measured to, of the same vocabulary.
        judge: scores rows of its table.
        prompt: integers (B, P); where there is no choice, lines are each other's baseline: B >= 2, one prompt.
        length: T, the most tokens of a line.
        choice: how tokens are chosen; None: by exact draws, and the gradient is the score function's.
        kl_weight: beta >= 0.
        end: the token that ends a line.
        through_last: see `relaxed_unroll`.
        generator: source of randomness.

    Raises:
        ValueError: if vocabularies differ, or the judge's scores are not finite numbers (B,).
    """
    if not network.vocabulary == reference.vocabulary == judge.vocabulary:
        raise ValueError(
            f"generator, reference and judge read one vocabulary, got V={network.vocabulary}, {reference.vocabulary} and "
            f"{judge.vocabulary}: train them with one tokenizer"
        )
    by_score = choice is None
    draw = _exact(prompt.device) if choice is None else choice
    with torch.set_grad_enabled(torch.is_grad_enabled() and not by_score):
        lines = relaxed_unroll(
            network, draw, prompt, length, table=judge.table(), end=end, through_last=through_last, generator=generator
        )
        scores = judge(lines.rows, lines.mask)
    if scores.shape != prompt.shape[:1] or (scores.device.type == "cpu" and not bool(scores.detach().isfinite().all())):
        raise ValueError(
            f"{type(judge).__name__} must give one finite score for each of {len(prompt)} lines, got shape "
            f"{tuple(scores.shape)} with {int((~scores.detach().isfinite()).sum())} that are not finite"
        )
    log_p, kl = token_figures(network, reference, prompt, lines.indices)
    kl = (kl * lines.mask).sum(1)
    losses = float32(kl_weight * kl - scores)
    loss = leave_one_out(losses, (log_p * lines.mask).sum(1)) if by_score else losses.mean()
    return JudgedLines(loss, scores.detach(), kl.detach(), lines.indices, lines.mask)


def _exact(device: torch.device) -> TokenChoice:
    return TokenChoice(evaluation="draw").to(device).eval()


@without_autocast
def token_figures(
    network: TokenNetwork, reference: TokenNetwork, prompt: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of tokens under a network, and its KL to a reference at their places, each float32 (B, T).

    One parallel pass; logits exist for one block of places at a time.

    Args:
        network: gets a gradient.
        reference: gets none.
        prompt: integers (B, P).
        tokens: integers (B, T), what follows the prompt.
    """
    inputs = torch.cat([prompt, tokens[:, :-1]], 1)
    first = prompt.shape[1] - 1
    hidden = float32(network.hidden(network.embedding.look_up(inputs))[0][:, first:]).flatten(0, 1)
    with torch.no_grad():
        theirs = float32(reference.hidden(reference.embedding.look_up(inputs))[0][:, first:]).flatten(0, 1)
    heads = [*_head(network, hidden), *(each.detach() for each in _head(reference, hidden))]
    step = max(1, _ELEMENTS // network.vocabulary)
    parts = [
        recomputed(partial(_of_block, chosen), mine, *heads, other)
        for mine, other, chosen in zip(
            hidden.split(step), theirs.split(step), tokens.flatten().split(step), strict=True
        )
    ]
    found = torch.cat(parts, 1).view(2, *tokens.shape)
    return found[0], found[1]


def _head(network: TokenNetwork, like: Tensor) -> tuple[Tensor, Tensor]:
    weight, bias = network.head.weight.to(like.dtype), network.head.bias
    return weight, weight.new_zeros(len(weight)) if bias is None else bias.to(like.dtype)


def _of_block(
    tokens: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor, weight_r: Tensor, bias_r: Tensor, hidden_r: Tensor
) -> Tensor:
    logits = torch.addmm(bias, hidden, weight.t())
    log_p = torch.log_softmax(logits, -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    return torch.stack([log_p, kl_divergence(logits, torch.addmm(bias_r, hidden_r, weight_r.t()))])
