"""Iterated local search (Lourenço, Martin & Stützle 2003, https://doi.org/10.1007/0-306-48056-5_11) with a language model's own
proposals.

A language model gives more than the nll of a line: the probabilities of all words at every position, given the words before.
With the first-order effect on the words after, they propose both the steps of the descent and the words that are redrawn:

    q(v) ~ exp(log p(v | x_<t) - (e_v - e_{x_t}) . d nll / d e_{x_t})

The first-order change is nearly a lower bound of the exact one: nll is convex in the logits, and close to that in the words
before. A replacement that it does not expect to help does not help, and no evaluation is spent on it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.word_search.coordinate import LocalOptimum, descend
from discrete_lightning.text.word_search.search import Budget, WordSearch


@dataclass(frozen=True)
class IteratedLocalSearch(WordSearch):
    """Coordinate search that, where it is stuck, redraws a few adjacent words of one of its best lines instead of all words.

    The line is one of the `pool` best local optima, better ones more often: that of rank r with a probability near
    (1 - 1/e) e^-r. Two to `redrawn` adjacent words are drawn again from q above, from left to right, each given those drawn
    before; then coordinate search goes on from there. Steps are accepted by the exact nll alone.

    Args:
        candidates: the most words judged at a position: those with the lowest first-order change, if it is below 0.
        redrawn: the most words that are drawn again, 1 or more.
        pool: local optima that are kept.

    Example:
        >>> from discrete_lightning.text.networks import GRUNetwork
        >>> from discrete_lightning.text.word_search.problem import WordProblem
        >>> network = GRUNetwork(vocabulary=5, dim=4, hidden_dim=8)
        >>> problem = WordProblem(network, torch.tensor([0, 0, 3]), torch.tensor([True, True, False]), torch.tensor([1]))
        >>> IteratedLocalSearch().run(problem, evaluations=50).evaluations <= 50
        True
    """

    candidates: int = 8
    redrawn: int = 3
    pool: int = 8

    def __post_init__(self) -> None:
        check_at_least(1, candidates=self.candidates, redrawn=self.redrawn, pool=self.pool)

    def search(self, budget: Budget, generator: torch.Generator | None) -> None:
        tested: set[tuple[int, ...]] = set()
        words = budget.draw(1, 1.0, generator)[0]
        optima: list[LocalOptimum] = []
        while True:
            found = descend(budget, words, self.candidates, tested, generator, below=0.0)
            if not any(torch.equal(found.words, each.words) for each in optima):
                optima = sorted([*optima, found], key=lambda each: each.nll)[: self.pool]
            rank = int(torch.empty((), device=words.device).exponential_(generator=generator))
            words = self.redraw(budget, optima[min(rank, len(optima) - 1)], generator)

    def redraw(self, budget: Budget, optimum: LocalOptimum, generator: torch.Generator | None) -> Tensor:
        """Words (F,) of which some adjacent ones are drawn again: one evaluation for each but the first."""
        words, count = optimum.words.clone(), len(optimum.words)
        device = words.device
        least = min(2, self.redrawn, count)
        width = int(torch.randint(least, min(self.redrawn, count) + 1, (), generator=generator, device=device))
        begin = int(torch.randint(count - width + 1, (), generator=generator, device=device))
        log_p = optimum.log_probabilities
        for position in range(begin, begin + width):
            if position > begin:
                log_p = budget.evaluate(words.unsqueeze(0)).log_probabilities[0]
            logits = log_p[position] - optimum.effect[position]
            logits = logits.masked_fill(~budget.problem.allowed[position], -torch.inf)
            words[position] = torch.multinomial(logits.softmax(-1), 1, generator=generator)[0]
        return words
