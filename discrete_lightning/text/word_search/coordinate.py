"""Coordinate search: the best of several words for one position, over and over, with restarts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.word_search.search import Budget, WordSearch


@dataclass(frozen=True)
class CoordinateSearch(WordSearch):
    """Visits the positions in random order; at each it judges the words that the gradient proposes, and takes the best.

    When no position has a better word among its proposals, it begins again from a line drawn from the network.

    Args:
        candidates: words judged at a position: those with the lowest first-order change (2307.15043 proposes so).

    Example:
        >>> from discrete_lightning.text.networks import GRUNetwork
        >>> from discrete_lightning.text.word_search.problem import WordProblem
        >>> network = GRUNetwork(vocabulary=5, dim=4, hidden_dim=8)
        >>> problem = WordProblem(network, torch.tensor([0, 0, 3]), torch.tensor([True, True, False]), torch.tensor([1]))
        >>> found = CoordinateSearch(candidates=4).run(problem, evaluations=50)
        >>> len(found.tokens), int(found.tokens[2]), found.evaluations <= 50
        (3, 3, True)
    """

    candidates: int = 4

    def __post_init__(self) -> None:
        check_at_least(1, candidates=self.candidates)

    def search(self, budget: Budget, generator: torch.Generator | None) -> None:
        tested: set[tuple[int, ...]] = set()
        while True:
            descend(budget, budget.draw(1, 1.0, generator)[0], self.candidates, tested, generator)


@dataclass(frozen=True)
class LocalOptimum:
    """A line that no proposal improves.

    Attributes:
        words: int64 (F,).
        nll: in nats.
        log_probabilities: of all words, given those before, float32 (F, V).
        effect: of each replacement on the words after, to first order, float32 (F, V).
    """

    words: Tensor
    nll: float
    log_probabilities: Tensor
    effect: Tensor


def descend(
    budget: Budget,
    words: Tensor,
    candidates: int,
    tested: set[tuple[int, ...]],
    generator: torch.Generator | None,
    below: float = torch.inf,
) -> LocalOptimum:
    """Replaces one word of a line (F,) after another by a better one, until no position has one among its proposals.

    Args:
        budget: that pays.
        words: to start from.
        candidates: proposals at a position.
        tested: lines and positions whose proposals were judged before and are not judged again; it grows.
        generator: of the order of positions.
        below: proposals have a first-order change of less than this, in nats.
    """
    count, allowed, stuck, order = len(words), budget.problem.allowed, 0, list[int]()
    judged = budget.evaluate(words.unsqueeze(0), gradient=True)
    nll = float(judged.nll)
    while stuck < count:
        if not order:
            order = torch.randperm(count, generator=generator, device=words.device).tolist()
        position = order.pop()
        key = (*words.tolist(), position)
        stuck += 1
        if key in tested:
            continue
        tested.add(key)
        assert judged.change is not None
        proposals = replacements(words, judged.change[0], allowed, candidates, position, below)
        if not len(proposals):
            continue
        found = budget.evaluate(proposals).nll
        best = int(found.argmin())
        if float(found[best]) < nll:
            words, stuck, order = proposals[best], 0, []
            judged = budget.evaluate(words.unsqueeze(0), gradient=True)
            nll = float(judged.nll)
    assert judged.change is not None
    log_p = judged.log_probabilities[0]
    effect = judged.change[0] - log_p.gather(-1, words.unsqueeze(-1)) + log_p
    return LocalOptimum(words, nll, log_p, effect)


def replacements(
    words: Tensor, change: Tensor, allowed: Tensor, count: int, position: int, below: float = torch.inf
) -> Tensor:
    """Lines (<= count, F) that differ from `words` (F,) at one position: those with the lowest change below a bound."""
    score = change[position].masked_fill(~allowed[position], torch.inf).index_fill(0, words[position], torch.inf)
    best = score.topk(min(count, len(score)), largest=False)
    chosen = best.indices[best.values < below]
    lines = words.repeat(len(chosen), 1)
    lines[:, position] = chosen
    return lines
