"""Coordinate search: the best of several words for one position, over and over, with restarts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.word_search.search import Budget, WordSearch


@dataclass(frozen=True)
class CoordinateSearch(WordSearch):
    """Visits the positions in random order; at each it judges the words that the gradient proposes, and takes the best.

    When no position has a better word left among its proposals, it begins again from a line drawn from the network.

    Args:
        candidates: words judged at a position: those with the lowest first-order change (2307.15043 proposes so).

    Example:
        >>> from discrete_lightning.text.networks import GRUNetwork
        >>> from discrete_lightning.text.word_search.problem import WordProblem
        >>> network = GRUNetwork(vocabulary=5, dim=4, hidden_dim=8)
        >>> problem = WordProblem(network, torch.tensor([0, 0, 3]), torch.tensor([True, True, False]), torch.tensor([1]))
        >>> found = CoordinateSearch(candidates=4).run(problem, evaluations=50)
        >>> len(found.tokens), int(found.tokens[2]), found.evaluations
        (3, 3, 50)
    """

    candidates: int = 64

    def __post_init__(self) -> None:
        check_at_least(1, candidates=self.candidates)

    def search(self, budget: Budget, generator: torch.Generator | None) -> None:
        while True:
            words = budget.draw(1, 1.0, generator)
            judged = budget.evaluate(words, gradient=True)
            self.descend(budget, words[0], judged.nll[0], judged.change, generator)

    def descend(
        self, budget: Budget, words: Tensor, nll: Tensor, change: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Goes on from a line (F,) to one that no proposal improves; `change` (1, F, V) of it, None if not yet known."""
        count, stuck = len(words), 0
        while stuck < count:
            order = torch.randperm(count, generator=generator, device=words.device).tolist()
            for position in order:
                if change is None:
                    change = budget.evaluate(words.unsqueeze(0), gradient=True).change
                    assert change is not None
                proposals = replacements(words, change[0], budget.problem.allowed, self.candidates, position)
                if not len(proposals):
                    return words, nll
                judged = budget.evaluate(proposals).nll
                best = int(judged.argmin())
                if judged[best] < nll:
                    words, nll, change, stuck = proposals[best], judged[best], None, 0
                else:
                    stuck += 1
                if stuck >= count:
                    break
        return words, nll


def replacements(words: Tensor, change: Tensor, allowed: Tensor, count: int, position: int | None = None) -> Tensor:
    """Lines (<= count, F) that differ from `words` (F,) in one word, those with the lowest change (F, V) first."""
    score = change.masked_fill(~allowed, torch.inf).scatter(-1, words.unsqueeze(-1), torch.inf)
    offset = 0
    if position is not None:
        score, offset = score[position : position + 1], position
    flat = score.flatten()
    best = flat.topk(min(count, len(flat)), largest=False)
    chosen = best.indices[best.values < torch.inf]
    lines = words.repeat(len(chosen), 1)
    vocabulary = change.shape[-1]
    lines[torch.arange(len(chosen), device=words.device), chosen // vocabulary + offset] = chosen % vocabulary
    return lines
