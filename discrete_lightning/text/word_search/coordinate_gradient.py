"""Greedy coordinate gradient (Zou et al. 2023, https://arxiv.org/abs/2307.15043), algorithm 1."""

from dataclasses import dataclass

import torch

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.word_search.search import Budget, WordSearch


@dataclass(frozen=True)
class GreedyCoordinateGradient(WordSearch):
    """A batch of lines, each with one word replaced at random among the `top` words of the gradient; the best is next.

    As published the best of the batch is taken even if it is worse than the line before. After `patience` steps without a
    new best line of this start it begins again from a line drawn from the network.

    Args:
        batch: lines judged a step.
        top: words a position from which replacements are drawn.
        patience: steps.
    """

    batch: int = 64
    top: int = 256
    patience: int = 8

    def __post_init__(self) -> None:
        check_at_least(1, batch=self.batch, top=self.top, patience=self.patience)

    def search(self, budget: Budget, generator: torch.Generator | None) -> None:
        allowed = budget.problem.allowed
        top = min(self.top, allowed.shape[1])
        while True:
            words, best, failed = budget.draw(1, 1.0, generator)[0], float("inf"), 0
            while failed < self.patience:
                change = budget.evaluate(words.unsqueeze(0), gradient=True).change
                assert change is not None
                score = change[0].masked_fill(~allowed, torch.inf).scatter(-1, words.unsqueeze(-1), torch.inf)
                values, ranked = score.topk(top, largest=False)
                usable = (values < torch.inf).flatten().float()
                if not usable.any():
                    return
                chosen = torch.multinomial(usable, self.batch, replacement=True, generator=generator)
                lines = words.repeat(self.batch, 1)
                rows = torch.arange(self.batch, device=words.device)
                lines[rows, chosen // top] = ranked.flatten()[chosen]
                nll = budget.evaluate(lines).nll
                words, lowest = lines[int(nll.argmin())], float(nll.min())
                failed = 0 if lowest < best else failed + 1
                best = min(best, lowest)
