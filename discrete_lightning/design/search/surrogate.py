"""Bayesian optimisation of a black box: a Gaussian process is fitted to all scores so far and chooses the next sequences.

Each step fits the surrogate, generates candidates from the best sequences (mutants and recombinants) and evaluates the batch
with the largest upper confidence bound (Srinivas et al. 2010, https://arxiv.org/abs/0912.3995). It needs no gradient and
evaluates no sequence twice.
"""

from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.constraints import repair
from discrete_lightning.design.search.base import Optimize, Search
from discrete_lightning.design.search.gaussian_process import GaussianProcess, Hyperparameters
from discrete_lightning.design.search.sequence_keys import sequence_keys
from discrete_lightning.functional._arguments import check_at_least, check_not_negative

_REFIT = 1.3  # the hyper-parameters are chosen again when the data have grown by this factor


class SurrogateSearch(Search):
    """Batches chosen by a Gaussian process, for oracles without gradient and for few evaluations.

    Args:
        calls: the total number of oracle evaluations.
        batch: the number of evaluations in a step. The surrogate is fitted again before each step.
        first: the number of sequences in the first step: random ones, or those of the start and their mutants.
        candidates: the number of sequences from which the surrogate chooses.
        parents: the number of best sequences from which candidates are generated.
        exploration: the number of standard deviations in the upper confidence bound; a larger number explores more.
        memory: the number of sequences to which the surrogate is fitted: the best and the latest, half each. The time of a fit
            grows with its cube.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> from discrete_lightning.design import DesignProblem, FromNothing
        >>> from discrete_lightning.design.oracles import TFBind8
        >>> search = SurrogateSearch(calls=60, batch=20, first=20).begin(DesignProblem(TFBind8(), FromNothing(8)), seed=0)
        >>> search.run()
        >>> search.progress().calls
        60
    """

    evaluated: Tensor  # int64 (calls, length), the first `count` rows are filled
    losses: Tensor  # totals (calls,)
    count: Tensor

    def __init__(
        self,
        calls: int = 2000,
        batch: int = 20,
        first: int = 40,
        candidates: int = 1000,
        parents: int = 20,
        exploration: float = 1.0,
        memory: int = 600,
    ) -> None:
        check_at_least(1, calls=calls, batch=batch, candidates=candidates, parents=parents)
        check_at_least(2, first=first)
        check_at_least(4, memory=memory)
        check_not_negative(exploration=exploration)
        super().__init__(chains=batch)
        self.calls, self.batch, self.first, self.candidates = calls, batch, first, candidates
        self.parents, self.exploration, self.memory = parents, exploration, memory
        self._seen: set[bytes] = set()  # keys of `evaluated`
        self._exhausted = False
        self._fitted = [0.0] * 4  # the hyper-parameters, and the number of evaluated sequences when they were chosen

    def build(self) -> None:
        self.register_buffer("evaluated", torch.zeros(self.calls, self.problem.length, dtype=torch.int64))
        self.register_buffer("losses", torch.zeros(self.calls, dtype=torch.float32))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self) -> None:
        """No evaluations, as at the start; after `to_empty` of a search that was begun on the meta device."""
        for buffer in (self.evaluated, self.losses, self.count):
            buffer.zero_()

    def get_extra_state(self) -> dict[str, Any]:
        return super().get_extra_state() | {"exhausted": self._exhausted, "fitted": self._fitted}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self._exhausted, self._fitted = state["exhausted"], list(state["fitted"])
        self._seen = set()  # filled from the loaded buffers at the next step

    @property
    def done(self) -> bool:
        return int(self.count) >= self.calls or self._exhausted

    @torch.no_grad()
    def step(self, optimize: Optimize) -> None:
        generator = self.generator(self.taken)
        count = int(self.count)
        if not self._seen:
            self._seen = set(sequence_keys(self.evaluated[:count]))
        left = self.calls - count
        tokens = self._first_batch(generator)[:left] if count < 2 else self._choose(generator, min(self.batch, left))
        if not len(tokens):
            self._exhausted = True
            return
        with torch.autocast(self.problem.device.type, enabled=False):
            evaluation = self.problem.evaluate(tokens)
        self._seen.update(sequence_keys(tokens))
        self.evaluated[count : count + len(tokens)] = tokens
        self.losses[count : count + len(tokens)] = self.problem.total(evaluation.scores, tokens)
        self.count += len(tokens)
        self.record(tokens, evaluation)
        self.taken += 1

    def _first_batch(self, generator: torch.Generator) -> Tensor:
        problem = self.problem
        initial = problem.initial_sequences
        if initial is None:
            weights = problem.allowed.float().expand(4 * self.first, -1, -1).flatten(0, 1)
            tokens = torch.multinomial(weights, 1, generator=generator).view(-1, problem.length)
        else:
            given = self._new(initial, generator)
            many = initial[torch.arange(4 * self.first, device=problem.device) % len(initial)]
            mutants = self._new(self._mutate(many, generator), generator)
            new = (mutants.unsqueeze(1) != given).any(-1).all(-1)
            tokens = torch.cat([given, mutants[new]])
            return tokens[: self.first]
        return self._new(tokens, generator)[: self.first]

    def _choose(self, generator: torch.Generator, count: int) -> Tensor:
        """The next `count` sequences to evaluate; fewer if no more new ones are found."""
        evaluated = self.evaluated[: int(self.count)]
        losses = self.losses[: int(self.count)]
        order = losses.argsort(stable=True)
        candidates = self._descendants(evaluated[order[: self.parents]], generator)
        tries = 0
        while len(candidates) < count and tries < 20:
            mutants = self._new(self._mutate(evaluated[order[: 10 * self.parents]], generator), generator)
            candidates, tries = torch.cat([candidates, mutants]).unique(dim=0), tries + 1
        if not len(candidates):
            return candidates
        finite = losses.isfinite()
        if int(finite.sum()) < 2:
            return candidates[:count]
        index = order[finite[order]]
        recent = finite.nonzero().flatten().flip(0)
        index = torch.cat([index[: self.memory // 2], recent[: self.memory // 2]]).unique()
        *hyperparameters, at = self._fitted
        due = len(evaluated) >= _REFIT * at  # the grid search of hyper-parameters takes as long as many steps
        chosen = None if due else Hyperparameters(*hyperparameters)
        process = GaussianProcess(evaluated[index], -losses[index], len(self.problem.alphabet), chosen)
        if due:
            self._fitted = [*astuple(process.hyperparameters), float(len(evaluated))]
        return candidates[process.choose(candidates, count, self.exploration)]

    def _descendants(self, parents: Tensor, generator: torch.Generator) -> Tensor:
        """Recombinants and mutants of parents that are new and satisfy the constraints."""
        device, count = parents.device, self.candidates

        def pick() -> Tensor:
            return parents[torch.randint(len(parents), (count,), generator=generator, device=device)]

        mask = torch.rand(count, parents.shape[1], dtype=torch.float32, generator=generator, device=device) < 0.5
        crossed = torch.where(mask, pick(), pick())
        shifted = self._shift(pick(), generator)
        children = torch.cat([self._mutate(pick(), generator), self._mutate(crossed, generator), crossed, shifted])
        return self._new(children, generator)[: self.candidates]

    def _mutate(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Changes one letter to another one that is allowed there; with probability 1/2 one more, and so on."""
        tokens, device = tokens.clone(), tokens.device
        active = torch.ones(len(tokens), dtype=torch.bool, device=device)
        free = (self.problem.allowed.sum(-1) > 1).float()
        if not free.any():
            return tokens
        while active.any():
            rows = active.nonzero().flatten()
            places = torch.multinomial(free.expand(len(rows), -1), 1, generator=generator).squeeze(1)
            others = self.problem.allowed[places].float()
            others[torch.arange(len(rows), device=device), tokens[rows, places]] = 0
            only = others.sum(-1) == 0  # no other letter is allowed there
            others[only] = self.problem.allowed[places][only].float()
            tokens[rows, places] = torch.multinomial(others, 1, generator=generator).squeeze(1)
            active[rows] = torch.rand(len(rows), dtype=torch.float32, generator=generator, device=device) < 0.5
        return tokens

    def _shift(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Deletes a letter and inserts a random one elsewhere, which shifts those in between; with probability 1/2 again."""
        count, length = tokens.shape
        device = tokens.device
        active = torch.ones(count, dtype=torch.bool, device=device)
        place = torch.arange(length, device=device)
        while active.any():
            gone = torch.randint(length, (count, 1), generator=generator, device=device)
            there = torch.randint(length, (count, 1), generator=generator, device=device)
            source = torch.where((place >= gone) & (place < there), place + 1, place)
            source = torch.where((place <= gone) & (place > there), place - 1, source)
            letter = torch.randint(len(self.problem.alphabet), (count, 1), generator=generator, device=device)
            moved = tokens.gather(1, source).scatter(1, there, letter)
            tokens = torch.where(active.unsqueeze(1), moved, tokens)
            active = active & (torch.rand(count, dtype=torch.float32, generator=generator, device=device) < 0.5)
        allowed = self.problem.allowed.expand(count, -1, -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return tokens[allowed.all(-1)]

    def _new(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """The different sequences that satisfy the constraints and were not evaluated, in random order."""
        if self.problem.constraints:
            kept = self.problem.feasible(tokens)
            if not kept.any():
                example = self.problem.feasible_example
                tokens, kept = repair(self.problem.rules, tokens[:64], generator, fallback=example)
            tokens = tokens[kept]
        tokens = tokens.unique(dim=0)
        new = torch.tensor(
            [key not in self._seen for key in sequence_keys(tokens)], dtype=torch.bool, device=tokens.device
        )
        tokens = tokens[new]
        return tokens[torch.randperm(len(tokens), generator=generator, device=tokens.device)]
