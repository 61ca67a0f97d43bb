"""Many independent chains of logits, moved by an estimator's gradient of the total, then an exact polish of the best.

    loss(chain) = goal.loss(oracle(x)) + edit_weight * edits(x) + penalty_weight * penalty(x),    x = estimator(logits, tau)

Each chain samples one sequence a step (Linder and Seelig 2020, https://arxiv.org/abs/2005.11275; Schreiber et al. 2025,
ledidi, https://doi.org/10.1101/2025.04.22.650035) and keeps the best it has seen. Chains share nothing but the batch.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.design.search.base import Optimize, Search
from discrete_lightning.design.search.polish import Polish, Polisher
from discrete_lightning.design.search.repair import repair
from discrete_lightning.design.search.scored import row_keys
from discrete_lightning.design.search.sequence_logits import SequenceLogits
from discrete_lightning.estimators import Estimator, StraightThrough
from discrete_lightning.functional import categorical_one_hot, straight_through
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.temperature import Temperature


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

    A template that keeps the constraints is scored before all else, so that no edit is reported which is worse than none.

    Raises:
        ValueError: if a number is out of range; when it runs, if the oracle has no gradient and the estimator needs one.

    Example:
        >>> from discrete_lightning.design import DesignProblem, FromNothing
        >>> from discrete_lightning.design.oracles import TFBind8
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
        self._polished: list[int] = []  # the chains

    def prepare(self) -> None:
        problem = self.problem
        self.polisher = Polisher(self.polish, problem)
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

    def get_extra_state(self) -> dict[str, Any]:
        return super().get_extra_state() | {"polisher": self.polisher.state(), "polished": self._polished}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.polisher.restore(state["polisher"])
        self._polished = list(state["polished"])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        if hasattr(self, "polisher"):
            self.polisher.to(self.problem.device)
        return self

    @property
    def done(self) -> bool:
        return self.polisher.begun and self.polisher.done

    def step(self, optimize: Optimize) -> None:
        if not int(self.taken):
            self._score_template()
        if int(self.taken) < self.steps:
            optimize(self._loss())
        elif not self.polisher.begun:
            self._begin_polish()
        else:
            self._polish_round()
        self.taken += 1

    @torch.no_grad()
    def _score_template(self) -> None:
        problem = self.problem
        if problem.template is None or not bool(problem.feasible(problem.template)):
            return
        with torch.autocast(problem.device.type, enabled=False):
            tokens = problem.template.unsqueeze(0)
            self.remember(tokens, problem.score(tokens))

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
            self._polished = self.pool.best(self.polish.sequences)
            if not self._polished:
                raise ValueError(
                    f"no sequence that keeps all constraints and has a finite score was found in {problem.evaluator.count} "
                    f"evaluations; constraints: {', '.join(map(str, problem.constraints)) or 'none'}. Search for longer, or "
                    "loosen a constraint"
                )
            tokens = self.pool.tokens[self._polished]
            if problem.template is not None and self.polish.sequences > 1 and len(self._polished) < self.chains:
                tokens = self._with_template(tokens, generator)
            self.polisher.begin(tokens, self.relaxed.estimator.pathwise)
            self._keep_polished()

    def _with_template(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Lets one more sequence be polished, from the template on: the chains may all have left the way of fewest edits."""
        template, kept = repair(self.problem, self.problem.beginnings.clone(), generator)  # type: ignore[union-attr]
        if not kept.all():
            return tokens
        chosen = torch.tensor(self._polished, device=tokens.device)
        self._polished.append(int(self.pool.totals.index_fill(0, chosen, -torch.inf).argmax()))
        return torch.cat([tokens, template])

    def _score_again(self) -> None:
        """Scores of a search in low precision are rounded: what the designs are ranked by must not be."""
        chains = self.pool.found.nonzero().flatten()
        tokens = self.pool.tokens[chains]
        if self.front is not None:
            known = set(row_keys(tokens))
            new = [i for i, key in enumerate(row_keys(self.front.tokens)) if key not in known]
            tokens = torch.cat([tokens, self.front.tokens[new]])
            chains = torch.cat([chains, torch.arange(len(new), device=chains.device) % self.chains])
            self.front.clear()
        self.pool.clear()
        self.archive.clear()
        self._score_into(chains, tokens)

    def _score_into(self, chains: Tensor, tokens: Tensor) -> None:
        if len(chains):
            self.remember(tokens, self.problem.score(tokens), chains)

    def _polish_round(self) -> None:
        with torch.autocast(self.problem.device.type, enabled=False):
            self.polisher.round(self.generator(int(self.taken)))
        self._keep_polished()

    def _keep_polished(self) -> None:
        if self.polisher.evaluated is not None:
            tokens, scores, walkers = self.polisher.evaluated
            self.remember(tokens, scores, torch.tensor(self._polished, device=tokens.device)[walkers])
