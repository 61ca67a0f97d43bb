"""Independent chains of logits, optimised by an estimator's gradient of the total.

    loss(chain) = goal.loss(oracle(x)) + edit_weight * edits(x) + penalty_weight * penalty(x),    x = estimator(logits, tau)

Each chain samples one sequence a step (Linder and Seelig 2020, https://arxiv.org/abs/2005.11275; Schreiber et al. 2025,
ledidi, https://doi.org/10.1101/2025.04.22.650035), and its best sequence is kept. Chains share only the batch.
"""

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.base import Search
from discrete_lightning.design.search.plan import Plan
from discrete_lightning.design.search.sequence_logits import SequenceLogits
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import straight_through
from discrete_lightning.functional._arguments import check_at_least, check_not_negative, check_positive
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.temperature import Temperature


class Chains(Search):
    """The chains of a GradientSearch.

    Args:
        plan: the settings of the chains.
        estimator: how the gradient passes through the choice of letters.
        temperature: of the estimator.
        penalty_weight: of the constraints' penalties, in units of the total.
    """

    def __init__(
        self, plan: Plan, estimator: Estimator, temperature: Temperature | float, penalty_weight: float
    ) -> None:
        check_at_least(1, chains=plan.chains)
        check_at_least(0, steps=plan.steps)
        check_positive(learning_rate=plan.learning_rate)
        check_not_negative(template_logit=plan.template_logit, init_std=plan.init_std, penalty_weight=penalty_weight)
        super().__init__(plan.chains)
        self.plan, self.penalty_weight = plan, penalty_weight
        self.relaxed = RelaxedCategorical(estimator, temperature)

    def build(self) -> None:
        problem = self.problem
        self.logits = SequenceLogits(self.plan.chains, problem.length, len(problem.alphabet), problem.allowed)
        if not self.logits.logits.is_meta:
            self.reset_parameters()

    @property
    def calls_a_sample(self) -> int:
        """The oracle calls for each sample of a chain: a relaxed sample is not a sequence, whose score is another call."""
        return self._calls_a_sample(self.problem)

    def _calls_a_sample(self, problem: DesignProblem) -> int:
        """The same before the search is begun."""
        estimator = self.relaxed.estimator
        samples = estimator.evaluations((problem.length, len(problem.alphabet)))
        return samples * (1 if estimator.hard else 2)

    def reset_parameters(self) -> None:
        """The logits of the start; after `to_empty` of a search that was begun on the meta device."""
        problem = self.problem
        if problem.initial_sequences is None:
            self.logits.randomize_(self.plan.init_std, self.generator(-1))
        else:
            chains = torch.arange(self.plan.chains, device=problem.device)
            self.logits.set_letters_(self.given(chains), self.plan.template_logit)

    def given(self, chains: Tensor) -> Tensor:
        """The sequences from which these chains start, (n, length)."""
        assert self.problem.initial_sequences is not None
        return self.problem.initial_sequences[chains % len(self.problem.initial_sequences)]

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.logits.parameters(), lr=self.plan.learning_rate)

    def chains_loss(self) -> Tensor:
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
        rows = torch.arange(tokens[..., 0].numel(), device=tokens.device) % self.plan.chains
        self.record(tokens.flatten(0, -2), evaluation.flatten(), rows)
