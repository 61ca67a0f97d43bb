"""Gibbs with gradients (Grathwohl et al. 2021, https://arxiv.org/abs/2102.04509, algorithm 1): one letter changes a step, and
the gradient chooses which.

    q(l, k | x) = softmax over all letters k != x_l of all positions l of (g[l, k] - g[l, x_l]) / (2 T)
"""

import torch
from torch import Tensor

from discrete_lightning.functional.gumbel import gumbel_max
from discrete_lightning.functional.metropolis_hastings import (
    ChainState,
    LogDensity,
    MetropolisStep,
    letter_changes,
    metropolis_hastings,
)


def gibbs_with_gradients(
    state: ChainState,
    log_density: LogDensity,
    temperature: float = 1.0,
    *,
    allowed: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> MetropolisStep:
    """One step that changes one letter of each chain, or none.

    Args:
        state: the chains, from `begin_chains` or an earlier step.
        log_density: (..., length) -> log density (...), and its gradient at the one-hot tokens (..., length, categories).
            -inf where the density is 0: such a proposal is rejected.
        temperature: T, > 0: the chains sample pi^(1/T).
        allowed: bool, broadcasts to (..., length, categories): the letters that may be taken. None: all.
        generator: source of randomness.

    Raises:
        ValueError: if a chain is at a letter that is not allowed, the density is NaN or +inf, or the temperature is not
            positive.

    Example:
        >>> from discrete_lightning.functional import begin_chains
        >>> field = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
        >>> def log_density(tokens):
        ...     one_hot = torch.nn.functional.one_hot(tokens, 4).float()
        ...     return (one_hot * field).sum((-2, -1)), field.expand_as(one_hot)
        >>> state = begin_chains(torch.zeros(3, 5, dtype=torch.int64), log_density)
        >>> step = gibbs_with_gradients(state, log_density, generator=torch.Generator().manual_seed(0))
        >>> (step.state.tokens != state.tokens).sum(-1) == step.accepted
        tensor([True, True, True])
    """
    forward = gibbs_log_proposal(state, temperature, allowed)
    free = forward.flatten(-2).amax(-1) > -torch.inf
    # a chain with nothing to change proposes to stay: a draw needs a category, and is not used
    drawn = gumbel_max(torch.where(free[..., None], forward.flatten(-2), 0.0), generator=generator)
    place, letter = drawn // forward.shape[-1], drawn % forward.shape[-1]
    changed = state.tokens.scatter(-1, place.unsqueeze(-1), letter.unsqueeze(-1))
    proposed = torch.where(free.unsqueeze(-1), changed, state.tokens)

    def log_proposal(start: ChainState, end: ChainState) -> Tensor:
        logs = forward if start is state else gibbs_log_proposal(start, temperature, allowed)
        moved = (start.tokens != end.tokens).int().argmax(-1, keepdim=True)
        to = end.tokens.gather(-1, moved)
        row = logs.gather(-2, moved.unsqueeze(-1).expand(*moved.shape, logs.shape[-1])).squeeze(-2)
        return row.gather(-1, to).squeeze(-1)

    return metropolis_hastings(state, proposed, log_density, log_proposal, temperature, generator)


def gibbs_log_proposal(state: ChainState, temperature: float = 1.0, allowed: Tensor | None = None) -> Tensor:
    """Log q(l, k | x) of changing position l to letter k, (..., length, categories); -inf for the letter that is there.

    All of it is -inf where no position has another letter that is allowed.
    """
    change = letter_changes(state, temperature, allowed).scatter(-1, state.tokens.unsqueeze(-1), -torch.inf)
    flat = change.flatten(-2)
    stuck = flat.amax(-1, keepdim=True) == -torch.inf
    return torch.where(stuck, -torch.inf, torch.where(stuck, 0.0, flat).log_softmax(-1)).view(change.shape)
