"""Independent chains of logits, optimised by an estimator's gradient of the total, then local search from the best sequences.

    loss(chain) = goal.loss(oracle(x)) + edit_weight * edits(x) + penalty_weight * penalty(x),    x = estimator(logits, tau)

Each chain samples one sequence a step (Linder and Seelig 2020, https://arxiv.org/abs/2005.11275; Schreiber et al. 2025,
ledidi, https://doi.org/10.1101/2025.04.22.650035), and its best sequence is kept. Chains share only the batch.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.design.constraints import repair
from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.search.base import Optimize, Search
from discrete_lightning.design.search.polish import Polish, PolishedRound, Polisher
from discrete_lightning.design.search.sequence_keys import sequence_keys
from discrete_lightning.design.search.sequence_logits import SequenceLogits
from discrete_lightning.estimators import Estimator, StraightThrough
from discrete_lightning.functional import categorical_one_hot, straight_through
from discrete_lightning.functional._arguments import check_at_least, check_not_negative, check_positive
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.temperature import Temperature


class GradientSearch(Search):
    """Chains of logits and a gradient estimator, then a polish (local search).

    Args:
        chains: the number of independent sequences.
        steps: the number of samples of each chain. Each sample is an oracle evaluation; an estimator with relaxed samples needs
            two, and LeaveOneOut(m), which serves oracles without gradient, needs m.
        estimator: how the gradient passes through the choice of letters; StraightThrough() by default.
        temperature: of the estimator.
        learning_rate: of Adam, in logits a step.
        template_logit: the initial logit (in nats) of the letters of the template, or of the sequence that a chain starts from;
            all other letters start at 0. Not used by chains that start from random sequences.
        init_std: the standard deviation of the initial logits of chains that start from random sequences.
        penalty_weight: of the constraints' penalties, in units of the total.
        polish: settings of the local search from the best sequences and, if there is one, from the template.

    A template that satisfies the constraints is scored first, so that no edited sequence is reported that is worse than it.

    Raises:
        ValueError: a number is out of range; or (while it runs) the oracle has no gradient and the estimator needs one.

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
        template_logit: float = 1.0,
        init_std: float = 1.0,
        penalty_weight: float = 1.0,
        polish: Polish | None = None,
    ) -> None:
        super().__init__(chains)
        check_at_least(0, steps=steps)
        check_positive(learning_rate=learning_rate)
        check_not_negative(template_logit=template_logit, init_std=init_std, penalty_weight=penalty_weight)
        self.steps, self.learning_rate, self.penalty_weight = steps, learning_rate, penalty_weight
        self.template_logit, self.init_std = template_logit, init_std
        self.relaxed = RelaxedCategorical(StraightThrough() if estimator is None else estimator, temperature)
        self.polish = Polish() if polish is None else polish
        self._polished: list[int] = []  # the chains whose sequences are polished

    def build(self) -> None:
        problem = self.problem
        self.polisher = Polisher(self.polish, problem)
        self.logits = SequenceLogits(self.chains, problem.length, len(problem.alphabet), problem.allowed)
        if not self.logits.logits.is_meta:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """The logits of the start; after `to_empty` of a search that was begun on the meta device."""
        problem = self.problem
        if problem.initial_sequences is None:
            self.logits.randomize_(self.init_std, self.generator(-1))
        else:
            self.logits.set_letters_(
                self._initial(torch.arange(self.chains, device=problem.device)), self.template_logit
            )

    def _initial(self, chains: Tensor) -> Tensor:
        """The sequences from which these chains start, (n, length)."""
        assert self.problem.initial_sequences is not None
        return self.problem.initial_sequences[chains % len(self.problem.initial_sequences)]

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
        if not self.taken:
            self._score_template()
        if self.taken < self.steps:
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
            self.record(tokens, problem.evaluate(tokens))

    def _loss(self) -> Tensor:
        generator = self.generator(self.taken)
        logits, problem = self.logits(), self.problem
        estimator, tau = self.relaxed.estimator, self.relaxed.temperature()

        def losses(samples: Tensor) -> Tensor:
            evaluation: Evaluation = problem.evaluator(samples)
            scores = evaluation.scores
            self._record_samples(samples.detach(), evaluation)
            # an infinite score (of an infeasible sequence) is clamped, so that its gradient can still be used
            total = problem.goal.loss(straight_through(scores.detach().clamp(-1e6, 1e6), scores))
            if problem.template is not None and problem.start.edit_weight:
                total = total + problem.start.edit_weight * problem.relaxed_edits(samples)
            if problem.constraints and self.penalty_weight:
                total = total + self.penalty_weight * problem.penalty(samples)
            return total

        return estimator.expectation(losses, logits, tau, generator).sum()

    @torch.no_grad()
    def _record_samples(self, samples: Tensor, evaluation: Evaluation) -> None:
        tokens = samples.argmax(-1)
        hard = self.problem.one_hot(tokens)
        if not torch.equal(hard, samples.float()):  # the score of a relaxed sample is not the score of a sequence
            evaluation = self.problem.evaluator.evaluate(hard)
        self.record(tokens.flatten(0, -2), evaluation.flatten())

    @torch.no_grad()
    def _begin_polish(self) -> None:
        """Begins the polish of the chains' best sequences. Where too few satisfy the constraints, others are repaired first."""
        problem, generator = self.problem, self.generator(self.taken)
        rounded = torch.is_autocast_enabled(problem.device.type)
        best = self.best_per_chain
        with torch.autocast(problem.device.type, enabled=False):
            if rounded:
                self._score_again()
            needed = max(0, self.polish.sequences - int(best.filled.sum()))
            missing = (~best.filled).nonzero().flatten()[:needed]
            if len(missing):
                draw = categorical_one_hot(self.logits()[missing], generator=generator).argmax(-1)
                if problem.initial_sequences is not None and not self.steps:
                    draw = self._initial(missing)
                tokens, kept = repair(problem.rules, draw, generator, fallback=problem.feasible_example)
                self._score_into(missing[kept], tokens[kept])
            self._polished = best.best(self.polish.sequences)
            if not self._polished:
                raise ValueError(
                    f"no sequence with a finite score that satisfies all constraints was found in {problem.evaluator.count} "
                    f"evaluations; constraints: {', '.join(map(str, problem.constraints)) or 'none'}. Search for longer, or "
                    "loosen a constraint"
                )
            tokens = best.tokens[self._polished]
            if problem.template is not None and self.polish.sequences > 1 and len(self._polished) < self.chains:
                tokens = self._with_template(tokens, generator)
            self._record_round(self.polisher.begin(tokens, self.relaxed.estimator.pathwise))

    def _with_template(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Adds the repaired template to the sequences to polish: all chains may have made more edits than needed."""
        problem = self.problem
        template, kept = repair(
            problem.rules,
            self._initial(torch.zeros(1, dtype=torch.int64)),
            generator,
            fallback=problem.feasible_example,
        )
        if not kept.all():
            return tokens
        chosen = torch.tensor(self._polished, device=tokens.device)
        self._polished.append(int(self.best_per_chain.totals.index_fill(0, chosen, -torch.inf).argmax()))
        return torch.cat([tokens, template])

    def _score_again(self) -> None:
        """Scores the kept sequences in full precision: the scores of a search in low precision are rounded."""
        chains = self.best_per_chain.filled.nonzero().flatten()
        tokens = self.best_per_chain.tokens[chains]
        if self.front is not None:
            known = set(sequence_keys(tokens))
            new = [i for i, key in enumerate(sequence_keys(self.front.tokens)) if key not in known]
            tokens = torch.cat([tokens, self.front.tokens[new]])
            chains = torch.cat([chains, torch.arange(len(new), device=chains.device) % self.chains])
            self.front.clear()
        self.best_per_chain.clear()
        self.best_overall.clear()
        self.archive.clear()
        self._score_into(chains, tokens)

    def _score_into(self, chains: Tensor, tokens: Tensor) -> None:
        if len(chains):
            self.record(tokens, self.problem.evaluate(tokens), chains)

    def _polish_round(self) -> None:
        with torch.autocast(self.problem.device.type, enabled=False):
            evaluated = self.polisher.round(self.generator(self.taken))
        if evaluated is not None:
            self._record_round(evaluated)

    def _record_round(self, evaluated: PolishedRound) -> None:
        chains = torch.tensor(self._polished, device=evaluated.tokens.device)[evaluated.beams]
        self.record(evaluated.tokens, evaluated.evaluation, chains)
