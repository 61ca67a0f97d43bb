"""Free logits trained through samples: GBDA (Guo et al. 2021, https://arxiv.org/abs/2104.13733) with any estimator.

theta (F, V)     x^(i) = estimator(theta, tau)     Adam on the mean of nll(x^(i)) over i
"""

from dataclasses import dataclass, field

import torch
from torch import nn

from discrete_lightning.estimators import Estimator, GumbelSoftmax
from discrete_lightning.functional import gumbel_max
from discrete_lightning.functional._arguments import check_at_least, check_not_negative, check_positive
from discrete_lightning.text.word_search.search import Budget, WordSearch


@dataclass(frozen=True)
class PathSearch(WordSearch):
    """Starts of `steps` steps each, from lines drawn from the network; with the defaults GBDA.

    Samples that are one-hot are lines, and judged as such. After its steps a start draws `draws` lines from softmax(theta)
    and judges them.

    Args:
        estimator: a pathwise one; `GumbelSoftmax()` is GBDA.
        steps: of Adam, a start.
        samples: a step.
        learning_rate: of Adam.
        tau: temperature of the estimator.
        start_logit: of the words of the line that a start begins from; 0 for all others.
        draws: lines judged at the end of a start.
    """

    estimator: Estimator = field(default_factory=GumbelSoftmax)
    steps: int = 95
    samples: int = 10
    learning_rate: float = 0.3
    tau: float = 1.0
    start_logit: float = 12.0
    draws: int = 90

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps, samples=self.samples, draws=self.draws)
        check_positive(learning_rate=self.learning_rate, tau=self.tau)
        check_not_negative(start_logit=self.start_logit)
        if not self.estimator.pathwise:
            raise ValueError(
                f"{type(self.estimator).__name__} has no samples that carry a gradient: take GumbelSoftmax, StraightThrough, "
                "StraightThroughGumbel or ReinMax"
            )

    @property
    def name(self) -> str:
        return f"PathSearch({type(self.estimator).__name__})"

    def search(self, budget: Budget, generator: torch.Generator | None) -> None:
        problem = budget.problem
        while True:
            words = budget.draw(1, 1.0, generator)
            budget.evaluate(words)
            theta = nn.Parameter(torch.zeros(problem.allowed.shape, device=words.device))
            with torch.no_grad():
                theta.scatter_(-1, words[0].unsqueeze(-1), self.start_logit)
            optimizer = torch.optim.Adam([theta], self.learning_rate)
            for _ in range(self.steps):
                count = min(self.samples, (budget.left - 1) // 2)  # a line is judged at the end in any case
                if count < 1:
                    break
                with torch.enable_grad():
                    logits = theta.masked_fill(~problem.allowed, -torch.inf)
                    samples = self.estimator(logits.expand(count, -1, -1), self.tau, generator)
                    nll = problem.relaxed(samples)
                    (theta.grad,) = torch.autograd.grad(nll.mean(), theta)
                if self.estimator.hard:
                    budget.keep(samples.detach().argmax(-1), nll.detach())
                optimizer.step()
            final = theta.detach().masked_fill(~problem.allowed, -torch.inf)
            drawn = gumbel_max(final.expand(self.draws - 1, -1, -1), generator=generator)
            budget.evaluate(torch.cat([final.argmax(-1)[None], drawn]))
