"""Search of a black box: a Gaussian process learns the landscape from every score so far, and says what to try next.

Each step refits the surrogate, makes candidates from the best sequences (mutants and recombinants) and evaluates the batch of
largest upper confidence bound (Srinivas et al. 2010, https://arxiv.org/abs/0912.3995). It needs no gradient and never evaluates
a sequence twice.
"""

from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.search.base import Optimize, Search
from discrete_lightning.design.search.gaussian_process import GaussianProcess, Hyperparameters
from discrete_lightning.design.search.repair import repair

_REFIT = 1.3


class SurrogateSearch(Search):
    """Batches chosen by a Gaussian process, for oracles without gradient and few calls.

    Args:
        calls: oracle evaluations in all.
        batch: evaluations a step; the surrogate is refitted in between.
        first: sequences of the first step: random, or the given ones and their mutants.
        candidates: among how many the surrogate chooses.
        parents: how many of the best sequences candidates descend from.
        caution: standard deviations in the upper confidence bound; more explores more.
        memory: sequences that the surrogate learns from, the best half and the latest half: time grows with its cube.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from discrete_lightning.design import DesignProblem, FromNothing
        >>> from discrete_lightning.design.oracles import TFBind8
        >>> search = SurrogateSearch(calls=60, batch=20, first=20).begin(DesignProblem(TFBind8(), FromNothing(8)), seed=0)
        >>> search.run()
        >>> search.progress().calls
        60
    """

    known: Tensor
    values: Tensor
    count: Tensor
    fitted: Tensor

    def __init__(
        self,
        calls: int = 2000,
        batch: int = 20,
        first: int = 40,
        candidates: int = 1000,
        parents: int = 20,
        caution: float = 1.0,
        memory: int = 600,
    ) -> None:
        super().__init__(chains=batch)
        if min(calls, batch, candidates, parents) < 1 or first < 2 or memory < 4 or caution < 0:
            raise ValueError(
                "SurrogateSearch needs calls, batch, candidates, parents >= 1, first >= 2, memory >= 4 and caution >= 0, got "
                f"{calls=}, {batch=}, {first=}, {candidates=}, {parents=}, {caution=}, {memory=}"
            )
        self.calls, self.batch, self.first, self.candidates = calls, batch, first, candidates
        self.parents, self.caution, self.memory = parents, caution, memory
        self._seen: set[bytes] = set()
        self._exhausted = False

    def prepare(self) -> None:
        self.register_buffer("known", torch.zeros(self.calls, self.problem.length, dtype=torch.int64))
        self.register_buffer("values", torch.zeros(self.calls))  # losses
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        # hyper-parameters of the surrogate, and how many sequences were known when they were chosen
        self.register_buffer("fitted", torch.zeros(4, dtype=torch.float64))

    def get_extra_state(self) -> dict[str, Any]:
        return super().get_extra_state() | {"exhausted": self._exhausted}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self._exhausted = state["exhausted"]
        self._seen = set()  # those of the loaded buffers are read at the next step

    @property
    def done(self) -> bool:
        return int(self.count) >= self.calls or self._exhausted

    @torch.no_grad()
    def step(self, optimize: Optimize) -> None:
        generator = self.generator(int(self.taken))
        known = int(self.count)
        if not self._seen:
            self._seen = {_key(row) for row in self.known[:known]}
        room = self.calls - known
        tokens = self._begin(generator)[:room] if known < 2 else self._choose(generator, min(self.batch, room))
        if not len(tokens):
            self._exhausted = True
            return
        with torch.autocast(self.problem.device.type, enabled=False):
            scores = self.problem.score(tokens)
        self._seen |= {_key(row) for row in tokens}
        self.known[known : known + len(tokens)] = tokens
        self.values[known : known + len(tokens)] = self.problem.total(scores, tokens)
        self.count += len(tokens)
        self.remember(tokens, scores)
        self.taken += 1

    def _begin(self, generator: torch.Generator) -> Tensor:
        problem = self.problem
        if problem.beginnings is None:
            weights = problem.allowed.float().expand(4 * self.first, -1, -1).flatten(0, 1)
            tokens = torch.multinomial(weights, 1, generator=generator).view(-1, problem.length)
        else:
            given = self._fresh(problem.beginnings, generator)
            many = problem.beginnings[torch.arange(4 * self.first, device=problem.device) % len(problem.beginnings)]
            mutants = self._fresh(self._mutate(many, generator), generator)
            new = (mutants.unsqueeze(1) != given).any(-1).all(-1)
            tokens = torch.cat([given, mutants[new]])
            return tokens[: self.first]
        return self._fresh(tokens, generator)[: self.first]

    def _choose(self, generator: torch.Generator, count: int) -> Tensor:
        known = self.known[: int(self.count)]
        losses = self.values[: int(self.count)]
        order = losses.argsort(stable=True)
        parents = known[order[: self.parents]]
        pool = self._descendants(parents, generator)
        tries = 0
        while len(pool) < count and tries < 20:
            pool = torch.cat([pool, self._fresh(self._mutate(known[order[: 10 * self.parents]], generator), generator)])
            pool, tries = pool.unique(dim=0), tries + 1
        if not len(pool):
            return pool
        finite = losses.isfinite()
        if int(finite.sum()) < 2:
            return pool[:count]
        index = order[finite[order]]
        recent = finite.nonzero().flatten().flip(0)
        index = torch.cat([index[: self.memory // 2], recent[: self.memory // 2]]).unique()
        *hyperparameters, at = self.fitted.tolist()
        due = len(known) >= _REFIT * at  # the grid of hyper-parameters costs as much as many steps
        chosen = None if due else Hyperparameters(*hyperparameters)
        process = GaussianProcess(known[index], -losses[index], len(self.problem.alphabet), chosen)
        if due:
            self.fitted.copy_(torch.tensor([*astuple(process.hyperparameters), len(known)]))
        return pool[process.choose(pool, count, self.caution)]

    def _descendants(self, parents: Tensor, generator: torch.Generator) -> Tensor:
        """Recombinants and mutants of parents, none seen before, all keeping the constraints."""
        device, count = parents.device, self.candidates

        def pick() -> Tensor:
            return parents[torch.randint(len(parents), (count,), generator=generator, device=device)]

        mask = torch.rand(count, parents.shape[1], generator=generator, device=device) < 0.5
        crossed = torch.where(mask, pick(), pick())
        shifted = self._shift(pick(), generator)
        children = torch.cat([self._mutate(pick(), generator), self._mutate(crossed, generator), crossed, shifted])
        return self._fresh(children, generator)[: self.candidates]

    def _mutate(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Changes one letter, or with probability 1/2, 1/4 ... one more, to another that its position allows."""
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
            fallen = others.sum(-1) == 0  # the letter itself is the only one allowed
            others[fallen] = self.problem.allowed[places][fallen].float()
            tokens[rows, places] = torch.multinomial(others, 1, generator=generator).squeeze(1)
            active[rows] = torch.rand(len(rows), generator=generator, device=device) < 0.5
        return tokens

    def _shift(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Deletes a letter and inserts a random one elsewhere, so that what stands between moves by one; once, twice, ..."""
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
            active = active & (torch.rand(count, generator=generator, device=device) < 0.5)
        allowed = self.problem.allowed.expand(count, -1, -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        return tokens[allowed.all(-1)]

    def _fresh(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Different sequences that keep the constraints and were not evaluated, in random order."""
        if self.problem.constraints:
            kept = self.problem.feasible(tokens)
            if not kept.any():
                tokens, kept = repair(self.problem, tokens[:64], generator)
            tokens = tokens[kept]
        tokens = tokens.unique(dim=0)
        new = torch.tensor([_key(row) not in self._seen for row in tokens], dtype=torch.bool, device=tokens.device)
        tokens = tokens[new]
        return tokens[torch.randperm(len(tokens), generator=generator, device=tokens.device)]


def _key(tokens: Tensor) -> bytes:
    return tokens.cpu().numpy().tobytes()
