"""Many independent chains of logits, moved by an estimator's gradient of the total, then an exact polish of the best.

    loss(chain) = goal.loss(oracle(x)) + edit_weight * edits(x) + penalty_weight * penalty(x),    x = estimator(logits, tau)

Each chain samples one sequence a step (Linder and Seelig 2020, https://arxiv.org/abs/2005.11275; Schreiber et al. 2025,
ledidi, https://doi.org/10.1101/2025.04.22.650035) and keeps the best it has seen. Chains share nothing but the batch.
"""

import torch
from torch import Tensor

from discrete_lightning.design.polish import Polish, Polisher
from discrete_lightning.design.repair import repair
from discrete_lightning.design.search import Optimize, Search
from discrete_lightning.estimators import Estimator, StraightThrough
from discrete_lightning.functional import categorical_one_hot, straight_through
from discrete_lightning.nn import RelaxedCategorical, SequenceLogits, Temperature


class GradientSearch(Search):
    """Chains of logits and a gradient estimator, then a polish.

    Args:
        chains: independent sequences.
        steps: samples of each chain; every one is an oracle evaluation (two with estimators whose samples are relaxed, and m
            with LeaveOneOut(m), which serves oracles without gradient).
        estimator: how the gradient passes the choice of letters; StraightThrough() by default.
        temperature: of the estimator.
        learning_rate: of Adam, in logits a step.
        strength: of the beginning: how many nats the letters of a given sequence are ahead of the others, or the standard
            deviation of random logits.
        penalty_weight: of the constraints' penalties, in units of the total.
        polish: how the best sequences, and the one that is edited, are polished at the end.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from discrete_lightning.design import DesignProblem, FromNothing
        >>> from discrete_lightning.oracles import TFBind8
        >>> problem = DesignProblem(TFBind8(), FromNothing(8))
        >>> search = GradientSearch(chains=8, steps=20).begin(problem, seed=0)
        >>> search.run()
        >>> [round(design.score, 4) for design in search.designs(2)]
        [0.4911, 0.4911]
    """

    def __init__(
        self,
        chains: int = 64,
        steps: int = 100,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        learning_rate: float = 0.3,
        strength: float = 1.0,
        penalty_weight: float = 1.0,
        polish: Polish | None = None,
    ) -> None:
        super().__init__(chains)
        if steps < 0 or not learning_rate > 0 or strength < 0 or penalty_weight < 0:
            raise ValueError(
                f"GradientSearch needs steps, strength, penalty_weight >= 0 and learning_rate > 0, got {steps=}, {strength=}, "
                f"{penalty_weight=}, {learning_rate=}"
            )
        self.steps, self.learning_rate, self.strength, self.penalty_weight = (
            steps,
            learning_rate,
            strength,
            penalty_weight,
        )
        self.relaxed = RelaxedCategorical(StraightThrough() if estimator is None else estimator, temperature)
        self.polish = Polish() if polish is None else polish
        self._polisher: Polisher | None = None

    def prepare(self) -> None:
        problem = self.problem
        self.logits = SequenceLogits(self.chains, problem.length, len(problem.alphabet), problem.allowed)
        if problem.beginnings is None:
            self.logits.randomize_(self.strength, self.generator(-1))
        else:
            self.logits.favour_(self._beginnings(torch.arange(self.chains)), self.strength)

    def _beginnings(self, chains: Tensor) -> Tensor:
        """Where these chains begin, (n, length)."""
        assert self.problem.beginnings is not None
        return self.problem.beginnings[chains % len(self.problem.beginnings)]

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.logits.parameters(), lr=self.learning_rate)

    @property
    def done(self) -> bool:
        return self._polisher is not None and self._polisher.done

    def step(self, optimize: Optimize) -> None:
        if int(self.taken) < self.steps:
            optimize(self._loss())
        elif self._polisher is None:
            self._begin_polish()
        else:
            self._polish_round()
        self.taken += 1

    def _loss(self) -> Tensor:
        generator = self.generator(int(self.taken))
        logits, problem = self.logits(), self.problem
        estimator, tau = self.relaxed.estimator, self.relaxed.temperature()

        def losses(samples: Tensor) -> Tensor:
            scores = problem.evaluator(samples)
            self._offer(samples.detach(), scores.detach())
            # an infeasible sequence's infinite score still has a gradient, which leads out
            total = problem.goal.loss(straight_through(scores.detach().clamp(-1e6, 1e6), scores))
            if problem.template is not None and problem.start.edit_weight:
                kept = (samples * problem.one_hot(problem.template)).sum((-2, -1))
                total = total + problem.start.edit_weight * (problem.length - kept)
            if problem.constraints and self.penalty_weight:
                total = total + self.penalty_weight * problem.penalty(samples)
            return total

        return estimator.expectation(losses, logits, tau, generator).sum()

    @torch.no_grad()
    def _offer(self, samples: Tensor, scores: Tensor) -> None:
        tokens = samples.argmax(-1)
        hard = self.problem.one_hot(tokens)
        if not torch.equal(hard, samples.float()):  # a relaxed sample's score is not that of any sequence
            scores = self.problem.evaluator.score(hard)
        self.remember(tokens.flatten(0, -2), scores.flatten())
        for part, score in zip(tokens.view(-1, *tokens.shape[-2:]), scores.view(-1, tokens.shape[-2]), strict=True):
            self.pool.offer(self.problem, part, score)

    @torch.no_grad()
    def _begin_polish(self) -> None:
        """Takes the best of the chains; chains that found nothing that keeps the constraints are repaired first."""
        problem, generator = self.problem, self.generator(int(self.taken))
        rounded = torch.is_autocast_enabled(problem.device.type)
        with torch.autocast(problem.device.type, enabled=False):
            if rounded:
                self._score_again()
            missing = (
                (~self.pool.found).nonzero().flatten()[: max(0, self.polish.sequences - int(self.pool.found.sum()))]
            )
            if len(missing):
                draw = categorical_one_hot(self.logits()[missing], generator=generator).argmax(-1)
                if problem.beginnings is not None and not self.steps:
                    draw = self._beginnings(missing)
                tokens, kept = repair(problem, draw, generator)
                self._score_into(missing[kept], tokens[kept])
            self._chosen = self.pool.best(self.polish.sequences)
            if not len(self._chosen):
                raise ValueError(
                    f"no sequence that keeps all constraints and has a finite score was found in {problem.evaluator.count} "
                    f"evaluations; constraints: {', '.join(map(str, problem.constraints)) or 'none'}. Search for longer, or "
                    "loosen a constraint"
                )
            tokens = self.pool.tokens[self._chosen]
            if problem.template is not None and self.polish.sequences > 1 and len(self._chosen) < self.chains:
                tokens = self._with_template(tokens, generator)
            self._polisher = Polisher(self.polish, problem, tokens, self.generator(-2))
            self._keep_polished()

    def _with_template(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Lets one more sequence be polished, from the template on: the chains may all have left the way of fewest edits."""
        template, kept = repair(self.problem, self.problem.beginnings.clone(), generator)  # type: ignore[union-attr]
        if not kept.all():
            return tokens
        worst = self.pool.totals.index_fill(0, self._chosen, -torch.inf).argmax().unsqueeze(0)
        self._chosen = torch.cat([self._chosen, worst])
        return torch.cat([tokens, template])

    def _score_again(self) -> None:
        """Scores of a search in low precision are rounded: what the designs are ranked by must not be."""
        found = self.pool.found.nonzero().flatten()
        tokens = self.pool.tokens[found]
        self.pool.totals.fill_(torch.inf)
        self.archive.clear()
        self._score_into(found, tokens)

    def _score_into(self, chains: Tensor, tokens: Tensor) -> None:
        if len(chains):
            scores = self.problem.score(tokens)
            self.remember(tokens, scores)
            self.pool.offer(self.problem, tokens, scores, chains)

    def _polish_round(self) -> None:
        assert self._polisher is not None
        with torch.autocast(self.problem.device.type, enabled=False):
            self._polisher.round()
        self._keep_polished()

    def _keep_polished(self) -> None:
        assert self._polisher is not None
        self.pool.offer(self.problem, self._polisher.tokens, self._polisher.scores, self._chosen)
        self.remember(*self._polisher.evaluated)
