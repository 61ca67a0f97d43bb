"""A search along the Pareto front of several oracles: one budget for all directions, in which every evaluation counts in all.

Chains of logits, each in a direction of its own, find good regions; then a local search edits the best sequences of each
direction. The budget follows the directions that gain. Decomposition into directions is that of MOEA/D (Zhang and Li 2007,
https://doi.org/10.1109/TEVC.2007.892759); here the gradients of all oracles propose the edits.
"""

from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.design.constraints import repair
from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.oracles import WeightedSum
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.base import Optimize, Search
from discrete_lightning.design.search.directed_beams import DirectedBeams
from discrete_lightning.design.search.directions import directed_scores, spread_directions
from discrete_lightning.design.search.pareto import NoFront, ParetoFront
from discrete_lightning.design.search.sequence_keys import sequence_keys
from discrete_lightning.design.search.sequence_logits import SequenceLogits
from discrete_lightning.estimators import ReinMax
from discrete_lightning.functional._arguments import check_at_least, check_not_negative, check_positive
from discrete_lightning.layers.constant_buffers import real_device

_FIRST = 16  # sequences that are scored first: they give the reference and the first ranges
_LOWEST = -1e6  # of an objective of a chain's sample: the gradient of an infinitely bad one can still be used
_TEMPERATURE = 1.0  # of the chains
_EDITED = 0.05  # of the letters of the first edits of a template


class ParetoSearch(Search):
    """Designs along the whole Pareto front of a WeightedSum, instead of at one weighting.

    The signs of the oracle's weights and the goal say which way each oracle's score should go. The sizes of the weights matter
    to what `designs()` returns and to the price of an edit, and not to the front. `pareto_designs()` returns the front, and
    `hypervolume()` measures it.

    Args:
        calls: the total number of oracle evaluations. Each gives the gradients of all oracles.
        directions: the number of directions in the space of the oracles' scores, which is the number of chains.
        chains_share: the share of the calls for the chains, in [0, 1]; the rest is for local search.
        learning_rate: of Adam, in logits a step.
        template_logit: the initial logit of the letters of the sequence from which a chain starts, as in GradientSearch.
        penalty_weight: of the constraints' penalties in the loss of the chains, in ranges of the objectives.

    Raises:
        ValueError: a number is out of range; or (while it runs) the oracle has no gradient.
        NoFront: in `begin`, the oracle is not a WeightedSum, or the goal is a Target.

    Example:
        >>> from discrete_lightning.design import DesignProblem, FromNothing
        >>> from discrete_lightning.design.oracles import MotifScan, WeightedSum
        >>> both = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], weights=[1.0, 1.0], names=["gata2", "jun"])
        >>> search = ParetoSearch(calls=300, directions=4).begin(DesignProblem(both, FromNothing(20)), seed=0)
        >>> search.run()
        >>> search.progress().calls, len(search.pareto_designs()) > 3, search.hypervolume() > 0
        (300, True, True)
    """

    front: ParetoFront

    def __init__(
        self,
        calls: int = 2000,
        directions: int = 8,
        chains_share: float = 0.4,
        learning_rate: float = 0.3,
        template_logit: float = 3.0,
        penalty_weight: float = 1.0,
    ) -> None:
        check_at_least(1, calls=calls, directions=directions)
        super().__init__(chains=directions)
        check_positive(learning_rate=learning_rate)
        check_not_negative(template_logit=template_logit, penalty_weight=penalty_weight)
        if not 0 <= chains_share <= 1:
            raise ValueError(f"chains_share is a share of the calls in [0, 1], got {chains_share}")
        self.calls, self.directions, self.chains_share = calls, directions, chains_share
        self.learning_rate, self.template_logit, self.penalty_weight = learning_rate, template_logit, penalty_weight
        self._exhausted = False

    def begin(self, problem: DesignProblem, seed: int | None = None) -> Self:
        if not isinstance(problem.evaluator.oracle, WeightedSum) or not problem.goal.sign:
            raise NoFront(
                f"ParetoSearch needs a WeightedSum whose scores are maximised or minimised, got a "
                f"{type(problem.evaluator.oracle).__name__} and {problem.goal}: use GradientSearch, or Maximize() or Minimize()"
            )
        return super().begin(problem, seed)

    def build(self) -> None:
        problem = self.problem
        self.logits = SequenceLogits(self.directions, problem.length, len(problem.alphabet), problem.allowed)
        with real_device():
            weights = spread_directions(self.directions, len(self._oracle.oracles))
        self.beams = DirectedBeams(problem, weights)
        if not self.logits.logits.is_meta:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """The logits of the start; after `to_empty` of a search that was begun on the meta device."""
        initial = self.problem.initial_sequences
        if initial is None:
            self.logits.randomize_(1.0, self.generator(-1))
        else:
            chains = torch.arange(self.directions, device=self.problem.device) % len(initial)
            self.logits.set_letters_(initial[chains], self.template_logit)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.logits.parameters(), lr=self.learning_rate)

    def get_extra_state(self) -> dict[str, Any]:
        return super().get_extra_state() | {"exhausted": self._exhausted}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self._exhausted = state["exhausted"]

    @property
    def done(self) -> bool:
        return self._left <= 0 or self._exhausted

    @property
    def _left(self) -> int:
        return self.calls - self.spent

    @property
    def _oracle(self) -> WeightedSum:
        oracle = self.problem.evaluator.oracle
        assert isinstance(oracle, WeightedSum)
        return oracle

    def _space(self) -> tuple[Tensor, Tensor]:
        """The reference, and the range of each objective from there to the best one so far."""
        reference = self.front.reference.nan_to_num(0.0)
        if not len(self.front.values):
            return reference, torch.ones_like(reference)
        ranges = self.front.values.amax(0) - reference
        return reference, torch.where(ranges > 0, ranges, 1.0)

    def step(self, optimize: Optimize) -> None:
        with torch.autocast(self.problem.device.type, enabled=False):
            if not self.taken:
                self._score_first()
            elif not len(self.beams.tokens):
                spent = self.spent + self.directions
                if spent <= self.chains_share * self.calls:
                    optimize(self._loss())
                else:
                    self._begin_beams()
            else:
                self._round()
        self.taken += 1

    @torch.no_grad()
    def _score_first(self) -> None:
        """Random sequences, or those of the start; of a template also some with random changes."""
        problem, generator = self.problem, self.generator(0)
        count = min(max(2, min(_FIRST, self.calls // 10)), self.calls)
        weights = problem.allowed.float().expand(count, -1, -1).flatten(0, 1)
        tokens = torch.multinomial(weights, 1, generator=generator).view(count, -1)
        if (initial := problem.initial_sequences) is not None:
            rows = initial[torch.arange(count, device=problem.device) % len(initial)]
            chance = torch.rand(rows.shape, dtype=torch.float32, generator=generator, device=rows.device)
            changed = (chance < _EDITED) & (torch.arange(count, device=problem.device) >= len(initial)).unsqueeze(1)
            tokens = torch.where(changed, tokens, rows)
        tokens, kept = repair(problem.rules, tokens, generator, fallback=problem.feasible_example)
        self._evaluate(tokens[kept].unique(dim=0))

    def _evaluate(self, tokens: Tensor) -> Evaluation:
        """Scores, columns and gradients of all objectives of sequences (N, length); they are recorded."""
        found = self.problem.evaluator.evaluate(self.problem.one_hot(tokens), True, True, each=True)
        self.record(tokens, found.flatten())
        self.beams.seen.update(sequence_keys(tokens))
        return found

    def _values(self, evaluation: Evaluation) -> Tensor:
        """The objectives (N, objectives), higher is better."""
        assert evaluation.components is not None
        return self._oracle.objectives(evaluation.components, self.problem.goal.sign)

    def _loss(self) -> Tensor:
        problem, weights = self.problem, self.beams.weights
        reference, ranges = self._space()

        def losses(samples: Tensor) -> Tensor:
            rows = samples.detach().flatten(0, -3)
            tokens = rows.argmax(-1)
            found = self._evaluate(tokens)
            assert found.gradient is not None
            values = self._values(found).clamp_min(_LOWEST).requires_grad_()
            own = weights.expand(*samples.shape[:-2], -1).flatten(0, -2)
            scores = directed_scores(values, own, reference, ranges)
            (slope,) = torch.autograd.grad(scores.sum(), values)
            # the gradient of each sample's score in its direction, by the chain rule over the objectives
            gradient = (slope[:, :, None, None] * found.gradient.nan_to_num()).sum(1).view(samples.shape)
            linear = (samples * gradient).sum((-2, -1))
            total = -(scores.detach().view(linear.shape) + linear - linear.detach())
            if problem.template is not None and problem.start.edit_weight:
                kept = (samples * problem.one_hot(problem.template)).sum((-2, -1))
                total = total + self.beams.price(problem.length - kept, ranges)
            if problem.constraints and self.penalty_weight:
                total = total + self.penalty_weight * problem.penalty(samples)
            return total

        return ReinMax().expectation(losses, self.logits(), _TEMPERATURE, self.generator(self.taken)).sum()

    @torch.no_grad()
    def _begin_beams(self) -> None:
        """Evaluates the best sequence of each direction once more, now with the gradients that were not kept."""
        problem, (reference, ranges) = self.problem, self._space()
        tokens = torch.cat([self.front.tokens, self.best_overall.tokens[self.best_overall.filled]])
        columns = torch.cat([self.front.components, self.best_overall.components[self.best_overall.filled]])
        if not len(tokens):
            raise ValueError(
                f"no sequence with finite scores that satisfies all constraints was found in {problem.evaluator.count} "
                f"evaluations; constraints: {', '.join(map(str, problem.constraints)) or 'none'}. Search for longer, or loosen "
                "a constraint"
            )
        values = self._oracle.objectives(columns, problem.goal.sign)
        best = self.beams.scores(values, problem.edits(tokens), reference, ranges).argmax(1)
        self._add(tokens[best].unique(dim=0)[: self._left])

    @torch.no_grad()
    def _round(self) -> None:
        reference, ranges = self._space()
        proposals = self.beams.propose(reference, ranges, self._left, self.generator(self.taken))
        if len(proposals):
            self._add(proposals)
        else:
            self._exhausted = True

    def _add(self, tokens: Tensor) -> None:
        found = self._evaluate(tokens)
        assert found.gradient is not None
        self.beams.add(tokens, self._values(found), found.gradient, *self._space())
        self._exhausted = not len(self.beams.tokens)
