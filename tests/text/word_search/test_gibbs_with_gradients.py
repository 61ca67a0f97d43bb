"""Gibbs with gradients: chains that have the target's distribution keep it, which is what the exact acceptance promises."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.text.word_search import WordProblem
from discrete_lightning.text.word_search.gibbs_with_gradients import Chains, step
from discrete_lightning.text.word_search.search import Budget
from tests.text.word_search.tiny_problem import V, all_words, tiny_problem

CHAINS, STEPS = 4000, 6


def excess(problem: WordProblem, temperature: float, accept_all: bool = False) -> tuple[float, Chains, Tensor]:
    """Chi-square over its threshold, of chains that start at independent exact draws; the chains; what was accepted."""
    words = all_words()
    exact = (-problem.evaluate(words).nll.double() / temperature).softmax(-1)
    generator = torch.Generator().manual_seed(0)
    begun = words[torch.multinomial(exact, CHAINS, replacement=True, generator=generator)]
    judged = problem.evaluate(begun, gradient=True)
    assert judged.change is not None
    state = Chains(begun, judged.nll, judged.change)
    budget = Budget(problem, 10**9)
    taken = []
    for _ in range(STEPS):
        if accept_all:
            state.nll.fill_(torch.inf)
        taken.append(step(budget, state, temperature, generator))
    counts = torch.bincount(state.words @ torch.tensor([V * V, V, 1]), minlength=V**3).double()
    expected = exact * CHAINS
    likely = expected >= 5
    chi = ((counts - expected) ** 2 / expected)[likely].sum()
    rest = expected[~likely].sum()
    chi = chi + (counts[~likely].sum() - rest) ** 2 / rest.clamp_min(1)
    degrees = int(likely.sum())
    return float(chi) / (degrees + 3.3 * (2 * degrees) ** 0.5), state, torch.stack(taken)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_stationary_distribution(kind: str, temperature: float) -> None:
    problem = tiny_problem(kind, scale=1.3)
    found, state, taken = excess(problem, temperature)
    assert found < 1  # above with p near .001
    assert 0.05 < float(taken.float().mean()) < 0.98  # some are refused, and the chains move
    # the state is that of its words
    judged = problem.evaluate(state.words[:50], gradient=True)
    assert judged.change is not None
    torch.testing.assert_close(state.nll[:50], judged.nll, rtol=0, atol=1e-4)
    torch.testing.assert_close(state.change[:50], judged.change, rtol=0, atol=1e-4)


def test_accepting_everything_would_be_seen() -> None:
    assert excess(tiny_problem(scale=1.3), 1.0, accept_all=True)[0] > 3
