"""A search along the Pareto front of several oracles: one budget is split over directions, and all that is scored is shared.

Each turn searches in one direction (see `directions.Direction`), from the sequences found so far that are best in it. First each
direction has a turn, from the middle and the ends to what lies between; then those whose last turn increased the hypervolume
most per evaluation. Decomposition is that of MOEA/D (Zhang and Li 2007, https://doi.org/10.1109/TEVC.2007.892759).
"""

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.design.constraints import repair
from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.oracles import WeightedSum
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.base import Optimize, Search
from discrete_lightning.design.search.directed_problem import CallsSpent, DirectedProblem
from discrete_lightning.design.search.directions import Direction, spread_directions
from discrete_lightning.design.search.gradient import GradientSearch
from discrete_lightning.design.search.pareto import NoFront
from discrete_lightning.design.search.polish import Polish
from discrete_lightning.estimators import ReinMax
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._random import numbered_seed

_FIRST = 16  # sequences that are scored first: they give the reference and the ranges
_MIX = 0.5  # of the weighted sum in the score of a direction
_ROUNDS = 3  # turns for each direction
_KNOWN = 8  # sequences from which a turn starts
_DEEP = 0.4  # the share of all calls for the first turn
_CHAINS = 0.5  # the share of the first turn's calls for chains; later turns polish what is known


class ParetoSearch(Search):
    """Designs along the whole Pareto front of a WeightedSum, instead of at one weighting.

    The signs of the oracle's weights and the goal say which way each oracle's score should go; their sizes weigh the designs
    that `designs()` returns, and not the front. `pareto_designs()` returns the front, and `hypervolume()` its quality.

    Args:
        calls: the total number of oracle evaluations.
        directions: the number of directions, at least 1.
        search: what searches in one direction; each turn begins a copy. If it has an attribute `calls`, that is set to the calls of
            the turn; if not, it is stopped when they are spent. None: chains of logits and a polish, then polishes.

    Raises:
        ValueError: a number is out of range.
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

    weights: Tensor  # of the directions
    gains: Tensor  # of the hypervolume per evaluation, in the last turn of each direction
    visits: Tensor  # turns of each direction

    def __init__(self, calls: int = 2000, directions: int = 8, search: Search | None = None) -> None:
        super().__init__(chains=directions)
        check_at_least(1, calls=calls, directions=directions)
        self.calls, self.directions = calls, directions
        self._settings = [search]  # in a list: it is no part of the module, and neither is the search of a turn
        self._turn: list[_Turn] = []
        self._without_calls = 0  # turns in a row

    def begin(self, problem: DesignProblem, seed: int | None = None) -> Self:
        if not isinstance(problem.evaluator.oracle, WeightedSum) or not problem.goal.sign:
            raise NoFront(
                f"ParetoSearch needs a WeightedSum of oracles, each to be maximised or minimised, got "
                f"{type(problem.evaluator.oracle).__name__} and {problem.goal}: use GradientSearch, or Maximize() or Minimize()"
            )
        return super().begin(problem, seed)

    def build(self) -> None:
        oracle = self.problem.evaluator.oracle
        assert isinstance(oracle, WeightedSum)
        self.register_buffer("weights", spread_directions(self.directions, len(oracle.oracles)))
        self.register_buffer("gains", torch.zeros(self.directions, dtype=torch.float32))
        self.register_buffer("visits", torch.zeros(self.directions, dtype=torch.int64))

    @property
    def done(self) -> bool:
        return self._left <= 0 or self._without_calls >= 2 * self.directions

    @property
    def _left(self) -> int:
        return self.calls - self.problem.evaluator.count

    def step(self, optimize: Optimize) -> None:
        with torch.autocast(self.problem.device.type, enabled=False):
            if not self.taken:
                self._score_first()
            else:
                if not self._turn:
                    self._turn.append(self._begin_turn())
                if self._turn[0].step():
                    self._end_turn(self._turn.pop())
        self.taken += 1

    @torch.no_grad()
    def _score_first(self) -> None:
        """Random sequences, or those of the start; of a template also with random changes."""
        problem, generator = self.problem, self.generator(0)
        count = max(2, min(_FIRST, self.calls // 10))
        drawn = torch.multinomial(
            problem.allowed.float().expand(count, -1, -1).flatten(0, 1), 1, generator=generator
        ).view(count, -1)
        initial = problem.initial_sequences
        if initial is not None:
            rows = initial[torch.arange(count, device=problem.device) % len(initial)]
            changed = torch.rand(rows.shape, dtype=torch.float32, generator=generator, device=rows.device) < 0.05
            drawn = torch.where(changed, drawn, rows)
            drawn[: len(initial)] = initial[:count]
        tokens, kept = repair(problem.rules, drawn, generator, fallback=problem.feasible_example)
        tokens = tokens[kept][: self._left]
        self.record(tokens, problem.evaluate(tokens))

    def _begin_turn(self) -> "_Turn":
        left = max(1, _ROUNDS * self.directions - int(self.visits.sum()))
        calls = min(self._left, max(self._left // left, 2 * _KNOWN))
        if not int(self.visits.sum()):
            calls = max(calls, int(_DEEP * self._left))
        return _Turn(self, self._next_direction(), calls, self.front_rows())

    def _next_direction(self) -> int:
        if int(self.visits.min()) == 0:
            return int(self.visits.argmin())
        best = (self.gains == self.gains.max()).nonzero().flatten()
        return int(best[self.visits[best].argmin()])

    def front_rows(self) -> tuple[Tensor, Tensor]:
        return self.front.tokens, self.front.components

    def _end_turn(self, turn: "_Turn") -> None:
        spent = turn.problem.evaluator.count
        self._without_calls = 0 if spent else self._without_calls + 1
        gain = self.hypervolume() - turn.before
        self.gains[turn.number] = gain / max(1, spent)
        self.visits[turn.number] += 1


class _Turn:
    """One search in one direction."""

    def __init__(self, whole: ParetoSearch, number: int, calls: int, rows) -> None:
        problem = whole.problem
        self.number, self.before = number, whole.hypervolume()
        oracle = problem.evaluator.oracle
        values = whole.front.values
        reference = whole.front.reference
        ranges = (values.amax(0) - reference)
        ranges = torch.where(ranges > 0, ranges, 1.0)
        scale = float((oracle.weights.abs() * ranges).sum())
        direction = Direction(oracle, problem.goal.sign, whole.weights[number], reference, ranges, scale, _MIX)
        tokens, components = rows
        scores = direction(components)
        order = (problem.goal.sign * scores).argsort(descending=True, stable=True)[:_KNOWN]
        def record(t, e):
            own = problem.evaluator._own_score(e.components)
            whole.record(t, Evaluation(own, e.components), torch.full((len(t),), number))
        self.problem = DirectedProblem(problem, direction, calls, record, tokens[order])
        settings = whole._settings[0]
        self.search = planned(calls, not int(whole.visits.sum())) if settings is None else copy.deepcopy(settings)
        if settings is not None and hasattr(self.search, "calls"):
            self.search.calls = calls
        self.search.begin(self.problem, numbered_seed(whole.seed, whole.taken + 7))
        self.search.record(tokens[order], Evaluation(scores[order], components[order]))
        self.optimizer = self.search.optimizer()

    def optimize(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def step(self) -> bool:
        """Whether it has ended."""
        try:
            self.search.step(self.optimize)
        except CallsSpent:
            return True
        return self.search.done or not self.problem.evaluator.left


def planned(calls: int, first: bool) -> GradientSearch:
    chains = max(1, min(8, calls // 16))
    steps = int(calls * _CHAINS) // chains if first else 0
    polish = Polish(proposals=8, patience=4, beam=8, sequences=2 if not first else 4, restarts=10_000, calls=calls - chains * steps)
    return GradientSearch(chains, steps, ReinMax(), learning_rate=0.3, template_logit=3.0, polish=polish)
