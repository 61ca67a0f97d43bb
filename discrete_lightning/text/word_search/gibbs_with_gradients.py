"""Gibbs with gradients (Grathwohl et al. 2021, https://arxiv.org/abs/2102.04509), annealed, with the exact acceptance.

target     pi(x) ~ exp(-nll(x) / T)
proposal   q(t, v | x) = softmax over all replacements of -change(t, v) / (2 T)         equation 5 with f = -nll / T
accepted   with probability min(1, pi(x') q(x | x') / (pi(x) q(x' | x)))
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.functional import gumbel_max
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.text.word_search.search import Budget, WordSearch


@dataclass
class Chains:
    """The state of the chains: words (C, F), nll (C,) and the first-order change (C, F, V) of each replacement."""

    words: Tensor
    nll: Tensor
    change: Tensor


@dataclass(frozen=True)
class GibbsWithGradients(WordSearch):
    """Chains of single replacements proposed by the gradient, accepted exactly, at a temperature that falls geometrically.

    Each proposal costs 2 evaluations: the gradient at the proposed line makes the acceptance exact.

    Args:
        chains: run side by side.
        begin, end: temperatures, in nats.
    """

    chains: int = 4
    begin: float = 2.0
    end: float = 0.3

    def __post_init__(self) -> None:
        check_at_least(1, chains=self.chains)
        check_positive(begin=self.begin, end=self.end)

    def search(self, budget: Budget, generator: torch.Generator | None) -> None:
        least = len(budget.problem.positions) + 1  # to draw a line and its gradient
        if budget.left < least or not (budget.problem.allowed.sum(-1) > 1).any():
            budget.evaluate(budget.draw(1, 1.0, generator))
            return
        state = begin_chains(budget, self.chains, generator)
        while True:
            budget.require(2)
            step(budget, state, self.begin * (self.end / self.begin) ** budget.spent, generator)


def begin_chains(budget: Budget, chains: int, generator: torch.Generator | None) -> Chains:
    """Chains that start at lines drawn from the network."""
    price = len(budget.problem.positions) + 1
    words = budget.draw(min(chains, budget.left // price), 1.0, generator)
    judged = budget.evaluate(words, gradient=True)
    assert judged.change is not None
    return Chains(words, judged.nll, judged.change)


def step(budget: Budget, state: Chains, temperature: float, generator: torch.Generator | None) -> Tensor:
    """One proposal for each chain, in place; returns which were accepted, bool (C,)."""
    allowed = budget.problem.allowed
    chosen = gumbel_max(proposal(state.words, state.change, allowed, temperature), generator=generator)
    vocabulary = allowed.shape[1]
    position, word = chosen // vocabulary, chosen % vocabulary
    rows = torch.arange(len(chosen), device=chosen.device)
    proposed = state.words.clone()
    proposed[rows, position] = word
    judged = budget.evaluate(proposed, gradient=True)
    assert judged.change is not None
    count = len(judged.nll)  # the budget may have paid for fewer
    rows, chosen = rows[:count], chosen[:count]
    back = position[:count] * vocabulary + state.words[rows, position[:count]]
    old, new = state.words[:count], proposed[:count]
    there = proposal(old, state.change[:count], allowed, temperature).log_softmax(-1)[rows, chosen]
    here = proposal(new, judged.change, allowed, temperature).log_softmax(-1)[rows, back]
    log_ratio = (state.nll[:count] - judged.nll) / temperature + here - there
    uniform = torch.rand(count, generator=generator, device=rows.device)
    accepted = uniform.log() < log_ratio
    state.words[:count] = torch.where(accepted[:, None], new, old)
    state.nll[:count] = torch.where(accepted, judged.nll, state.nll[:count])
    state.change[:count] = torch.where(accepted[:, None, None], judged.change, state.change[:count])
    return accepted


def proposal(words: Tensor, change: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Logits (C, F V) of the replacements; a word is never replaced by itself."""
    logits = (-change / (2 * temperature)).masked_fill(~allowed, -torch.inf)
    return logits.scatter(-1, words.unsqueeze(-1), -torch.inf).flatten(1)
