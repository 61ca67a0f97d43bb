"""Text token by token from a causal model, with a cache; and finished sequences with their log-probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_max
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.truncate_logits import truncate_logits
from discrete_lightning.protocols import PredictsTokens


@torch.no_grad()
def stream_tokens(
    model: PredictsTokens,
    prompt: Tensor,
    temperature: float = 1.0,
    *,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draws the tokens that follow a prompt, one after another, without an end.

    A token is an exact draw from softmax(truncate_logits(logits)); with temperature 0 it is the most likely one. Where the
    model's `context` is full, it goes on from the later half of what it has seen.

    Args:
        model: any module with `logits(tokens, cache)`; put it in eval() yourself.
        prompt: integers (B, S), S >= 1.
        temperature: >= 0.
        top_k: see `functional.truncate_logits`.
        top_p: likewise.
        min_p: likewise.
        generator: source of randomness.

    Yields:
        The next tokens, int64 (B,), and the log-probabilities, float32 (B, V), of what they were drawn from.

    Raises:
        ValueError: if an argument is out of its range, or the prompt is empty or longer than the model's context.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature is 0 (the most likely token) or more, got {temperature}")
    if prompt.ndim != 2 or not prompt.shape[1] or prompt.is_floating_point():
        raise ValueError(f"a prompt is integers (B, S) of one token or more, got {prompt.dtype} {tuple(prompt.shape)}")
    context = getattr(model, "context", None)
    if context is not None and prompt.shape[1] > context:
        raise ValueError(
            f"the prompt has {prompt.shape[1]} tokens, and the model takes context={context}: give a shorter prompt"
        )
    new, cache, seen = prompt, None, prompt
    while True:
        if context is not None and cache is not None and seen.shape[1] > context:
            new, cache = seen[:, -max(1, context // 2) :], None
            seen = new
        logits, cache = model.logits(new, cache)
        last = float32(logits[:, -1])
        if temperature == 0:
            chosen = last.argmax(-1)
            log_p = torch.full_like(last, -torch.inf).scatter_(-1, chosen.unsqueeze(-1), 0.0)
        else:
            last = truncate_logits(last, temperature, top_k=top_k, top_p=top_p, min_p=min_p)
            chosen, log_p = gumbel_max(last, generator=generator), torch.log_softmax(last, -1)
        yield chosen, log_p
        new = chosen.unsqueeze(1)
        if context is not None:
            seen = torch.cat([seen, new], 1)


def generate(
    model: PredictsTokens,
    prompt: Tensor,
    tokens: int,
    temperature: float = 1.0,
    *,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The tokens that follow a prompt, int64 (B, tokens): see `stream_tokens`.

    Example:
        >>> from discrete_lightning.text import GRUNetwork
        >>> network = GRUNetwork(vocabulary=10, dim=8, hidden_dim=16).eval()
        >>> generate(network, torch.zeros(2, 3, dtype=torch.int64), tokens=5, top_p=0.9).shape
        torch.Size([2, 5])
    """
    check_at_least(0, tokens=tokens)
    stream = stream_tokens(model, prompt, temperature, top_k=top_k, top_p=top_p, min_p=min_p, generator=generator)
    drawn = [next(stream)[0] for _ in range(tokens)]
    return torch.stack(drawn, 1) if drawn else prompt.new_zeros(len(prompt), 0)


@dataclass
class SampledSequence:
    """Sequences that a model drew.

    Attributes:
        tokens: int64 (B, T), T of the longest; what follows a sequence's end is the end token.
        log_probabilities: float32 (B, T), of each token under the distribution that it was drawn from, without a gradient; 0
            after the end.
        mask: bool (B, T), True up to the end token, which is included.
        ended: bool (B,), whether a sequence came to its end within T tokens.
    """

    tokens: Tensor
    log_probabilities: Tensor
    mask: Tensor
    ended: Tensor


def sample_sequences(
    model: PredictsTokens,
    prompt: Tensor,
    length: int,
    *,
    end: int | Sequence[int] | None = None,
    ends: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> SampledSequence:
    """Draws sequences until their end, without a gradient; `sequence_log_probabilities` gives them one.

    To draw without a gradient and then to score the finished sequences in one parallel pass gives the gradient of the
    score function in O(T) memory. Train on plain draws (temperature 1, nothing cut off): a truncated or tempered draw is not
    one of the model's distribution.

    Args:
        model: any module with `logits(tokens, cache)`; put it in eval() yourself.
        prompt: integers (B, S), S >= 1.
        length: T, the most tokens of a sequence, 1 or more.
        end: a token, or several, that end a sequence; None: all have T tokens.
        ends: a sequence ends at its `ends`-th end token.
        temperature: see `stream_tokens`.
        top_k: see `functional.truncate_logits`.
        top_p: likewise.
        min_p: likewise.
        generator: source of randomness.

    Raises:
        ValueError: if an argument is out of its range, or prompt and sequence together are longer than the model's context.

    Example:
        >>> from discrete_lightning.text import GRUNetwork
        >>> network = GRUNetwork(vocabulary=4, dim=8, hidden_dim=16).eval()
        >>> sampled = sample_sequences(network, torch.zeros(3, 1, dtype=torch.int64), 6, end=0)
        >>> bool((sampled.tokens[~sampled.mask] == 0).all()), sampled.log_probabilities.shape == sampled.tokens.shape
        (True, True)
    """
    check_at_least(1, length=length, ends=ends)
    context = getattr(model, "context", None)
    if context is not None and prompt.ndim == 2 and prompt.shape[1] + length - 1 > context:
        raise ValueError(
            f"a prompt of {prompt.shape[1]} tokens and sequences of length={length} are longer than the model's "
            f"context={context}: set a smaller length, or train a model with a larger context"
        )
    stop = [] if end is None else [end] if isinstance(end, int) else list(end)
    last = torch.tensor(stop or [0], device=prompt.device)
    stream = stream_tokens(model, prompt, temperature, top_k=top_k, top_p=top_p, min_p=min_p, generator=generator)
    left = torch.full((len(prompt),), ends, device=prompt.device)
    tokens: list[Tensor] = []
    log_p: list[Tensor] = []
    masks: list[Tensor] = []
    for _ in range(length):
        chosen, log_all = next(stream)
        open_ = left > 0
        # in place: the stream goes on from it
        chosen.copy_(torch.where(open_, chosen, last[0]))
        tokens.append(chosen)
        log_p.append(log_all.gather(-1, chosen.unsqueeze(-1)).squeeze(-1).masked_fill(~open_, 0.0))
        masks.append(open_)
        if stop:
            left = left - (open_ & torch.isin(chosen, last)).long()
            if not bool((left > 0).any()):
                break
    return SampledSequence(torch.stack(tokens, 1), torch.stack(log_p, 1), torch.stack(masks, 1), left <= 0)


def sequence_log_probabilities(model: PredictsTokens, prompt: Tensor, tokens: Tensor) -> Tensor:
    """Log p(token | prompt and the tokens before it) of finished sequences, in one parallel pass, with its gradient.

    Args:
        model: any module with `logits(tokens, cache)`.
        prompt: integers (B, S), S >= 1.
        tokens: int64 (B, T).

    Returns:
        float32 (B, T).

    Example:
        >>> from discrete_lightning.text.networks import GRUNetwork
        >>> network, prompt = GRUNetwork(vocabulary=4, dim=8, hidden_dim=16).eval(), torch.zeros(3, 1, dtype=torch.int64)
        >>> sampled = sample_sequences(network, prompt, 6)
        >>> found = sequence_log_probabilities(network, prompt, sampled.tokens)
        >>> torch.allclose(found, sampled.log_probabilities, atol=1e-5), found.requires_grad
        (True, True)
    """
    return sequence_logits(model, prompt, tokens).log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def sequence_logits(model: PredictsTokens, prompt: Tensor, tokens: Tensor) -> Tensor:
    """The logits that each of the tokens (B, T) was chosen by, float32 (B, T, V), after a prompt (B, S), in one pass."""
    logits: Any = model.logits(torch.cat([prompt, tokens[:, :-1]], 1))[0]
    return float32(logits[:, prompt.shape[1] - 1 :])
