"""Search by gradients: chains of logits (search/chains.py), and local search of their best sequences (search/polish.py).

A search that knows its number of oracle calls plans how to spend them (search/plan.py).
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.design.constraints import repair
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.base import Optimize
from discrete_lightning.design.search.chains import Chains
from discrete_lightning.design.search.plan import Plan, planned
from discrete_lightning.design.search.polish import Polish, PolishedRound, Polisher
from discrete_lightning.design.search.sequence_keys import sequence_keys
from discrete_lightning.estimators import Estimator, ReinMax, StraightThrough
from discrete_lightning.functional import categorical_one_hot
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.temperature import Temperature

_CALLS = 5000  # of a search without settings
_FEWEST = 10


class GradientSearch(Chains):
    """Chains of logits and a gradient estimator, then a polish (local search).

    With `calls`, the search plans itself: it spends exactly so many oracle calls, and chains, steps, learning rate and polish
    follow from their number (see search/plan.py). Without any setting, calls is 5,000. Or the settings are chosen by hand.
    Of many given sequences (FromSequences) calls / 4 are scored first, evenly spaced, and the search starts from their best.

    Args:
        chains: the number of independent sequences; 64 if another setting is chosen by hand.
        steps: the number of samples of each chain (100). Each sample is an oracle evaluation; an estimator with relaxed samples
            needs two, and LeaveOneOut(m), which serves oracles without gradient, needs m.
        estimator: how the gradient passes through the choice of letters; ReinMax() in a planned search, else StraightThrough().
        temperature: of the estimator; 2 in a planned search that chooses the estimator, else 1.
        learning_rate: of Adam, in logits a step (0.3).
        template_logit: the initial logit (in nats) of the letters of the template, or of the sequence that a chain starts from;
            all other letters start at 0 (1.0). Not used by chains that start from random sequences.
        init_std: the standard deviation of the initial logits of chains that start from random sequences (1.0).
        penalty_weight: of the constraints' penalties, in units of the total.
        polish: settings of the local search from the best sequences and, if there is one, from the template.
        calls: the number of oracle calls; the search makes fewer only if no new sequence is left. At least 10.

    A template that satisfies the constraints is scored first, so that no edited sequence is reported that is worse than it.
    `trajectory` has the best design after each step, and `designs()` the best so far at any time, also after Ctrl-C in `run`.

    Raises:
        ValueError: a number is out of range; `calls` is given together with settings that follow from it; or (while it runs)
            the oracle has no gradient and the estimator needs one.

    Example:
        >>> from discrete_lightning.design import DesignProblem, FromNothing
        >>> from discrete_lightning.design.oracles import TFBind8
        >>> problem = DesignProblem(TFBind8(), FromNothing(8))
        >>> search = GradientSearch(calls=500).begin(problem, seed=0)
        >>> search.run()
        >>> search.progress().calls, round(search.designs(1)[0].score, 2)
        (500, 0.49)
    """

    def __init__(
        self,
        chains: int | None = None,
        steps: int | None = None,
        estimator: Estimator | None = None,
        temperature: Temperature | float | None = None,
        learning_rate: float | None = None,
        template_logit: float | None = None,
        init_std: float | None = None,
        penalty_weight: float = 1.0,
        polish: Polish | None = None,
        calls: int | None = None,
    ) -> None:
        settings: dict[str, Any] = {
            "chains": chains,
            "steps": steps,
            "learning_rate": learning_rate,
            "template_logit": template_logit,
            "init_std": init_std,
            "polish": polish,
        }
        chosen = {name: value for name, value in settings.items() if value is not None}
        if calls is not None and chosen:
            raise ValueError(
                f"GradientSearch(calls={calls}) plans its other settings itself: leave out {', '.join(chosen)}, or leave out "
                "calls (Polish(calls=...) bounds the polish alone)"
            )
        self.calls = _CALLS if calls is None and not chosen else calls
        if self.calls is not None:
            check_at_least(_FEWEST, calls=self.calls)
        if temperature is None:
            temperature = 2.0 if estimator is None and self.calls is not None else 1.0
        if estimator is None:
            estimator = StraightThrough() if self.calls is None else ReinMax()
        super().__init__(Plan(**chosen), estimator, temperature, penalty_weight)
        self._sampled = 0  # steps of the chains
        self._polished: list[int] = []  # the rows of best_per_chain whose sequences are polished

    def begin(self, problem: DesignProblem, seed: int | None = None) -> Self:
        if self.calls is not None and not self.begun:
            given = problem.initial_sequences
            self.plan = planned(self.calls, 0 if given is None else len(given), self._calls_a_sample(problem))
            self.chains = self.plan.chains + (self.plan.first is not None)  # one row for the sequences given
        return super().begin(problem, seed)

    def build(self) -> None:
        super().build()
        problem, plan = self.problem, self.plan
        self.polisher = Polisher(plan.polish, problem)
        self.first = None if plan.first is None else Polisher(plan.first, problem)

    def get_extra_state(self) -> dict[str, Any]:
        mine = {
            "polisher": self.polisher.state(),
            "first": None if self.first is None else self.first.state(),
            "polished": self._polished,
            "sampled": self._sampled,
        }
        return super().get_extra_state() | mine

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.polisher.restore(state["polisher"])
        if self.first is not None:
            self.first.restore(state["first"])
        self._polished = list(state["polished"])
        # earlier versions sampled in the first steps
        self._sampled = state.get("sampled", min(self.taken, self.plan.steps))

    def count_from(self, before: int | None) -> None:
        super().count_from(before)
        for polisher in self._polishers():
            polisher.until = None if self.calls is None or before is None else before + self.calls

    def _polishers(self) -> list[Polisher]:
        return [self.polisher] if self.first is None else [self.first, self.polisher]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        if hasattr(self, "polisher"):
            for polisher in self._polishers():
                polisher.to(self.problem.device)
        return self

    @property
    def calls_left(self) -> int | None:
        """The oracle calls left; None if the search does not plan them."""
        if self.calls is None:
            return None
        return max(0, self.calls - self.spent)

    @property
    def done(self) -> bool:
        return self.calls_left == 0 or (self.polisher.begun and self.polisher.done)

    def step(self, optimize: Optimize) -> None:
        if self.first is None and not self.taken:
            self._score_template()
        if self.first is not None and not self._first_done():
            self._search_given()
        elif (self._sampled < self.plan.steps or self._has_found_none()) and self._chains_have_calls():
            if self.first is not None and not self._sampled:
                self._start_from_best()
            optimize(self.chains_loss())
            self._sampled += 1
        elif not self.polisher.begun:
            self._begin_polish()
        else:
            self._polish_round(self.polisher)
        self.taken += 1

    def _first_done(self) -> bool:
        assert self.first is not None
        return self._sampled > 0 or (self.first.begun and self.first.done)

    def _has_found_none(self) -> bool:
        """Whether a planned search has no sequence to polish yet, so that its chains go on."""
        return self.calls is not None and not self.best_per_chain.filled.any()

    def _chains_have_calls(self) -> bool:
        """Whether the calls suffice for one more step of all chains and for the polish to begin."""
        left = self.calls_left
        return left is None or left > self.plan.chains * self.calls_a_sample + self.plan.polish.sequences

    @torch.no_grad()
    def _score_template(self) -> None:
        problem = self.problem
        if problem.template is None or not bool(problem.feasible(problem.template)):
            return
        with torch.autocast(problem.device.type, enabled=False):
            tokens = problem.template.unsqueeze(0)
            self.record(tokens, problem.evaluate(tokens))

    @torch.no_grad()
    def _search_given(self) -> None:
        """The local search of the given sequences, which comes before the chains."""
        problem, first = self.problem, self.first
        assert first is not None
        assert self.calls is not None
        with torch.autocast(problem.device.type, enabled=False):
            if first.begun:
                self._polish_round(first)
                return
            given, row = problem.initial_sequences, self.plan.chains
            assert given is not None
            tokens, kept = repair(problem.rules, given, self.generator(self.taken), fallback=problem.feasible_example)
            tokens = tokens[kept]
            most = max(first.polish.sequences, self.calls // 4)
            if len(tokens) > most:  # evenly spaced: a file of sequences may be sorted
                tokens = tokens[torch.linspace(0, len(tokens) - 1, most, device=tokens.device).round().long()]
            if len(tokens) > first.polish.sequences:  # the best of many
                evaluation = problem.evaluate(tokens)
                self.record(tokens, evaluation, torch.full((len(tokens),), row, device=tokens.device))
                order = problem.total(evaluation.scores, tokens).argsort(stable=True)
                tokens = tokens[order[: first.polish.sequences]]
            self._polished = [row] * first.polish.sequences
            self._record_round(first.begin(tokens, self.relaxed.estimator.pathwise))

    def _start_from_best(self) -> None:
        """Lets the chains begin from the best sequences given; there is one template, from which they begin anyway."""
        if self.problem.template is None and len(self.best_overall):
            rows = torch.arange(self.plan.chains, device=self.problem.device) % len(self.best_overall)
            self.logits.set_letters_(self.best_overall.tokens[rows], self.plan.template_logit)

    @torch.no_grad()
    def _begin_polish(self) -> None:
        """Begins the polish of the chains' best sequences. Where too few satisfy the constraints, others are repaired first."""
        problem, generator, plan = self.problem, self.generator(self.taken), self.plan
        rounded = torch.is_autocast_enabled(problem.device.type)
        best = self.best_per_chain
        with torch.autocast(problem.device.type, enabled=False):
            if rounded:
                self._score_again()
            needed = max(0, plan.polish.sequences - int(best.filled.sum()))
            missing = (~best.filled[: plan.chains]).nonzero().flatten()[:needed]
            if len(missing):
                draw = categorical_one_hot(self.logits()[missing], generator=generator).argmax(-1)
                if problem.initial_sequences is not None and not plan.steps:
                    draw = self.given(missing)
                tokens, kept = repair(problem.rules, draw, generator, fallback=problem.feasible_example)
                self._score_into(missing[kept], tokens[kept])
            others = [] if self.first is None else self.first.beams
            self._polished = [row for row in best.best(self.chains) if row < plan.chains][: plan.polish.sequences]
            if not self._polished and not any(bool(beam.best.totals[0].isfinite()) for beam in others):
                raise ValueError(
                    f"no sequence with a finite score that satisfies all constraints was found in {problem.evaluator.count} "
                    f"evaluations; constraints: {', '.join(map(str, problem.constraints)) or 'none'}. Search for longer, or "
                    "loosen a constraint"
                )
            tokens = best.tokens[self._polished]
            polishes_template = self.first is None and problem.template is not None and plan.polish.sequences > 1
            if polishes_template and len(self._polished) < self.chains:
                tokens = self._with_template(tokens, generator)
            begun = self.polisher.begin(tokens, self.relaxed.estimator.pathwise, others)
            new = len(self.polisher.beams) - len(others)
            self._polished = self._polished[:new] + [plan.chains] * len(others)
            self._record_round(begun)

    def _with_template(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Adds the repaired template to the sequences to polish: all chains may have made more edits than needed."""
        problem = self.problem
        template, kept = repair(
            problem.rules,
            self.given(torch.zeros(1, dtype=torch.int64)),
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
        chains, tokens = chains[: self.calls_left], tokens[: self.calls_left]
        if len(chains):
            self.record(tokens, self.problem.evaluate(tokens), chains)

    def _polish_round(self, polisher: Polisher) -> None:
        with torch.autocast(self.problem.device.type, enabled=False):
            self._record_round(polisher.round(self.generator(self.taken)))

    def _record_round(self, evaluated: PolishedRound | None) -> None:
        if evaluated is None:
            return
        chains = torch.tensor(self._polished, device=evaluated.tokens.device)[evaluated.beams]
        self.record(evaluated.tokens, evaluated.evaluation, chains)
