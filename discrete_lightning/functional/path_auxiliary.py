"""The path auxiliary proposal (Sun et al. 2022, https://openreview.net/forum?id=JSR-YDImK95, the fast form): several positions
change in one step, drawn one after another without replacement from the gradient at the beginning of the path.

    q(l_1 ... l_n, letters | x) = product over r of exp(w[l_r, y_r]) / sum over positions not yet taken, and letters, of exp(w)
    w[l, k] = (g[l, k] - g[l, x_l]) / (2 T),  k != x_l

The way back takes the positions in the opposite order. With n = 1 it is Gibbs with gradients.
"""

import torch
from torch import Tensor

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional.gumbel import gumbel_max, gumbel_noise
from discrete_lightning.functional.metropolis_hastings import (
    ChainState,
    LogDensity,
    MetropolisStep,
    letter_changes,
    metropolis_hastings,
)


def path_auxiliary(
    state: ChainState,
    log_density: LogDensity,
    flips: int,
    temperature: float = 1.0,
    *,
    allowed: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> MetropolisStep:
    """One step that changes `flips` letters of each chain, or none; fewer where fewer positions have another allowed letter.

    Take another number of flips from time to time, drawn independently of the chains: with the same even number in each step,
    chains over two categories reach only half of all sequences.

    Args:
        state: the chains, from `begin_chains` or an earlier step.
        log_density: (..., length) -> log density (...), and its gradient at the one-hot tokens (..., length, categories).
            -inf where the density is 0: such a proposal is rejected.
        flips: n, >= 1; more than the length count as the length.
        temperature: T, > 0: the chains sample pi^(1/T).
        allowed: bool, broadcasts to (..., length, categories): the letters that may be taken. None: all.
        generator: source of randomness.

    Raises:
        ValueError: if a chain is at a letter that is not allowed, the density is NaN or +inf, or flips or temperature are not
            positive.

    Example:
        >>> from discrete_lightning.functional import begin_chains
        >>> def flat(tokens):
        ...     return torch.zeros(tokens.shape[:-1]), torch.zeros(*tokens.shape, 4)
        >>> state = begin_chains(torch.zeros(2, 5, dtype=torch.int64), flat)
        >>> step = path_auxiliary(state, flat, flips=3, generator=torch.Generator().manual_seed(0))
        >>> (step.state.tokens != state.tokens).sum(-1), step.acceptance
        (tensor([3, 3]), tensor([1., 1.]))
    """
    check_at_least(1, flips=flips)
    weights = _weights(state, temperature, allowed)
    sites = weights.logsumexp(-1)
    # Gumbel-top-n draws positions without replacement, in order (Kool et al. 2019, https://arxiv.org/abs/1903.06059)
    noise = gumbel_noise(sites.shape, device=sites.device, generator=generator)
    path = (sites + noise).topk(min(flips, sites.shape[-1]), -1).indices
    free = sites.gather(-1, path) > -torch.inf
    stuck = sites.unsqueeze(-1) == -torch.inf
    letters = gumbel_max(torch.where(stuck, 0.0, weights), generator=generator).gather(-1, path)
    letters = torch.where(free, letters, state.tokens.gather(-1, path))
    proposed = state.tokens.scatter(-1, path, letters)

    def log_proposal(start: ChainState, end: ChainState) -> Tensor:
        forward = start is state
        own = weights if forward else _weights(start, temperature, allowed)
        # positions that are free on the way are free on the way back: the others come last in `path`
        return path_log_probability(own, end.tokens, path, free, reverse=not forward)

    return metropolis_hastings(state, proposed, log_density, log_proposal, temperature, generator)


def path_log_probability(weights: Tensor, to: Tensor, path: Tensor, free: Tensor, reverse: bool = False) -> Tensor:
    """Log q of taking the letters of `to` at the positions of a path, in its order, (...).

    Args:
        weights: w, (..., length, categories).
        to: int64 (..., length).
        path: int64 (..., n), different positions.
        free: bool (..., n), False where the path goes on without a change; those are last.
        reverse: whether the positions are taken in the opposite order.
    """
    chosen = weights.gather(-1, to.unsqueeze(-1)).squeeze(-1).gather(-1, path)
    sites = weights.logsumexp(-1)
    others = sites.scatter(-1, path, -torch.inf).logsumexp(-1, keepdim=True)
    taken = torch.where(free, sites.gather(-1, path), -torch.inf)
    # the sum over what is not yet taken, at each position of the path: its own term and those that come after it
    after = taken.logcumsumexp(-1) if reverse else taken.flip(-1).logcumsumexp(-1).flip(-1)
    left = torch.logaddexp(after, others)
    return torch.where(free, chosen - left, 0.0).sum(-1)


def _weights(state: ChainState, temperature: float, allowed: Tensor | None) -> Tensor:
    change = letter_changes(state, temperature, allowed)
    return change.scatter(-1, state.tokens.unsqueeze(-1), -torch.inf)
