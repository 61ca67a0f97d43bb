"""The discrete Langevin proposal with acceptance (DMALA, Zhang et al. 2022, https://arxiv.org/abs/2206.09914, equation 4):
every position may change in one step, each independently of the others.

    q(y | x) = product over l of softmax over k of (g[l, k] - g[l, x_l]) / (2 T) - [k != x_l] / alpha

The paper's squared distance of two one-hot letters is 2, and its factor 1 / (2 alpha). An acceptance of .574 is optimal in
high dimensions (Sun et al. 2022, https://arxiv.org/abs/2209.08183).
"""

import torch
from torch import Tensor

from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.functional.gumbel import gumbel_max
from discrete_lightning.functional.metropolis_hastings import (
    ChainState,
    LogDensity,
    MetropolisStep,
    letter_changes,
    metropolis_hastings,
)


def discrete_langevin(
    state: ChainState,
    log_density: LogDensity,
    step_size: float,
    temperature: float = 1.0,
    *,
    allowed: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> MetropolisStep:
    """One step in which each letter of each chain may change.

    Args:
        state: the chains, from `begin_chains` or an earlier step.
        log_density: (..., length) -> log density (...), and its gradient at the one-hot tokens (..., length, categories).
            -inf where the density is 0: such a proposal is rejected.
        step_size: alpha, > 0. A larger one changes more letters, and is accepted less often.
        temperature: T, > 0: the chains sample pi^(1/T).
        allowed: bool, broadcasts to (..., length, categories): the letters that may be taken. None: all.
        generator: source of randomness.

    Raises:
        ValueError: if a chain is at a letter that is not allowed, the density is NaN or +inf, or the step size or the
            temperature is not positive.

    Example:
        >>> from discrete_lightning.functional import begin_chains
        >>> field = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
        >>> def log_density(tokens):
        ...     one_hot = torch.nn.functional.one_hot(tokens, 4).float()
        ...     return (one_hot * field).sum((-2, -1)), field.expand_as(one_hot)
        >>> state = begin_chains(torch.zeros(3, 5, dtype=torch.int64), log_density)
        >>> step = discrete_langevin(state, log_density, 1e-9, generator=torch.Generator().manual_seed(0))
        >>> step.acceptance, bool((step.state.tokens == state.tokens).all())  # so small a step stays
        (tensor([1., 1., 1.]), True)
    """
    forward = langevin_log_proposal(state, step_size, temperature, allowed)
    proposed = gumbel_max(forward, generator=generator)

    def log_proposal(start: ChainState, end: ChainState) -> Tensor:
        logs = forward if start is state else langevin_log_proposal(start, step_size, temperature, allowed)
        return logs.gather(-1, end.tokens.unsqueeze(-1)).squeeze(-1).sum(-1)

    return metropolis_hastings(state, proposed, log_density, log_proposal, temperature, generator)


def langevin_log_proposal(
    state: ChainState, step_size: float, temperature: float = 1.0, allowed: Tensor | None = None
) -> Tensor:
    """Log q of each letter at each position, (..., length, categories); -inf where it is not allowed."""
    check_positive(step_size=step_size)
    change = letter_changes(state, temperature, allowed)
    moves = torch.ones_like(change).scatter(-1, state.tokens.unsqueeze(-1), 0.0)
    return (change - moves / step_size).log_softmax(-1)
