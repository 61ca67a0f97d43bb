"""Metropolis-Hastings over sequences of categorical variables: a proposal is accepted so that the density stays exact.

    accept x -> y with probability min(1, pi(y)^(1/T) q(x | y) / (pi(x)^(1/T) q(y | x)))

(Hastings 1970, https://doi.org/10.1093/biomet/57.1.97)

The proposals are in `gibbs_with_gradients`, `discrete_langevin` and `path_auxiliary`. Each needs one evaluation of the density
and its gradient a step: those of the present state are kept.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from discrete_lightning.functional._checks import as_indices, check_floating, check_tau, host_number, values_can_be_read
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional._random import uniform

# tokens (..., length) -> log density (...), and its gradient at the one-hot tokens (..., length, categories)
LogDensity = Callable[[Tensor], tuple[Tensor, Tensor]]
_LARGEST = 1e30  # of a gradient; the difference of two of them is finite in float32


class ChainState(NamedTuple):
    """Where the chains are.

    Attributes:
        tokens: int64 (..., length), in [0, categories).
        log_density: log pi up to a constant, float32 (float64 of a float64 density) (...); -inf where pi is 0.
        gradient: d log pi / d one-hot tokens, same dtype, (..., length, categories); entries that are NaN count as 0.
    """

    tokens: Tensor
    log_density: Tensor
    gradient: Tensor


class MetropolisStep(NamedTuple):
    """One step of the chains.

    Attributes:
        state: the chains after it.
        accepted: bool (...), whether the chain took its proposal; True, too, of a proposal to stay.
        acceptance: the probability in [0, 1] with which it was accepted, (...).
    """

    state: ChainState
    accepted: Tensor
    acceptance: Tensor


def begin_chains(tokens: Tensor, log_density: LogDensity) -> ChainState:
    """Chains at given sequences; evaluates the density once.

    Args:
        tokens: integers (..., length).
        log_density: (..., length) -> log density (...), and its gradient (..., length, categories).

    Raises:
        ValueError: if the tokens are not integers, or the density is NaN or +inf, or of another shape.

    Example:
        >>> field = torch.tensor([[0.0, 1.0], [0.0, 2.0]])  # log pi is linear: two positions, two categories
        >>> def log_density(tokens):
        ...     one_hot = torch.nn.functional.one_hot(tokens, 2).float()
        ...     return (one_hot * field).sum((-2, -1)), field.expand_as(one_hot)
        >>> begin_chains(torch.tensor([[0, 1], [1, 1]]), log_density).log_density
        tensor([2., 3.])
    """
    tokens = as_indices(tokens, "tokens")
    return ChainState(tokens, *_evaluated(tokens, log_density))


def metropolis_hastings(
    state: ChainState,
    proposed: Tensor,
    log_density: LogDensity,
    log_proposal: Callable[[ChainState, ChainState], Tensor],
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> MetropolisStep:
    """Takes each chain to its proposal, or leaves it where it is.

    Args:
        state: the chains.
        proposed: int64 (..., length), drawn from q(. | state).
        log_density: evaluated at `proposed`. What it returns for a chain that stays is not used.
        log_proposal: (from, to) -> log q(to | from), up to a term that is the same in both directions, (...).
        temperature: T, > 0: the chains sample pi^(1/T).
        generator: source of randomness.

    Raises:
        ValueError: if the density is NaN or +inf, or the temperature is not positive.
    """
    check_tau(temperature, "temperature")
    new = ChainState(proposed, *_evaluated(proposed, log_density))
    stays = (proposed == state.tokens).all(-1)
    possible = new.log_density > -torch.inf
    # a chain that began where the density is 0 leaves it at once; log q must not be NaN where nothing is accepted
    gain = torch.where(possible, new.log_density, 0.0) - torch.where(
        state.log_density > -torch.inf, state.log_density, -_LARGEST
    )
    log_ratio = gain / temperature + log_proposal(new, state) - log_proposal(state, new)
    acceptance = torch.where(possible, log_ratio.clamp(max=0.0).exp(), 0.0)
    acceptance = torch.where(stays, 1.0, acceptance)
    drawn = uniform(acceptance.shape, dtype=torch.float32, device=acceptance.device, generator=generator)
    accepted = drawn < acceptance
    return MetropolisStep(
        ChainState(*(_where(accepted & ~stays, a, b) for a, b in zip(new, state, strict=True))), accepted, acceptance
    )


def letter_changes(state: ChainState, temperature: float = 1.0, allowed: Tensor | None = None) -> Tensor:
    """Half of the change of log pi^(1/T) that the gradient predicts for each letter, (..., length, categories).

        (g[l, k] - g[l, x_l]) / (2 T)

    which is the log of the locally balanced weight sqrt(pi(y) / pi(x)) (Zanella 2020, https://arxiv.org/abs/1711.07424). -inf
    where the letter is not allowed.

    Args:
        state: the chains.
        temperature: T.
        allowed: bool, broadcasts to (..., length, categories); None: all letters are.

    Raises:
        ValueError: if a chain is at a letter that is not allowed, which it could not come back to.
    """
    check_tau(temperature, "temperature")
    gradient = state.gradient.nan_to_num(0.0, _LARGEST, -_LARGEST).clamp(-_LARGEST, _LARGEST)
    index = state.tokens.unsqueeze(-1)
    change = (gradient - gradient.gather(-1, index)) / (2 * temperature)
    if allowed is None:
        return change
    allowed = allowed.expand(change.shape)
    if values_can_be_read(change) and not host_number(allowed.gather(-1, index).all()):
        wrong = int((~allowed.gather(-1, index)).sum())
        raise ValueError(f"{wrong} of {index.numel()} letters of the chains are not allowed: begin at allowed ones")
    return change.masked_fill(~allowed, -torch.inf)


def _evaluated(tokens: Tensor, log_density: LogDensity) -> tuple[Tensor, Tensor]:
    value, gradient = log_density(tokens)
    for name, x, shape in (("log density", value, tokens.shape), ("gradient", gradient, (*tokens.shape, -1))):
        check_floating(x, f"the {name}")
        wanted = (*shape[:-1], x.shape[-1]) if name == "gradient" and x.ndim else tuple(shape[:-1])
        if tuple(x.shape) != wanted:
            expected = "(..., length, categories)" if name == "gradient" else "(...)"
            raise ValueError(
                f"the {name} of tokens (..., length) is {expected}: got {tuple(x.shape)} for {tuple(tokens.shape)}"
            )
    value, gradient = float32(value.detach()), float32(gradient.detach())
    if values_can_be_read(value) and not host_number((value < torch.inf).all()):
        bad = int((~(value < torch.inf)).sum())
        raise ValueError(f"{bad} of {value.numel()} log densities are NaN or +inf; shape {tuple(value.shape)}")
    return value, gradient


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition.reshape(*condition.shape, *[1] * (a.ndim - condition.ndim)), a, b)
