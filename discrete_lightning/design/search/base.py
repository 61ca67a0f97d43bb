"""What every search is: steps over many chains, each of which keeps the best exact sequence it has seen."""

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.design.oracles import WeightedSum
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.archive import Archive
from discrete_lightning.design.search.designs import (
    Design,
    on_front,
    refuse_taken_names,
    select,
)
from discrete_lightning.design.search.pareto import NoFront, ParetoFront
from discrete_lightning.design.search.pool import Pool
from discrete_lightning.functional._random import numbered_seed
from discrete_lightning.layers.float32 import Float32State

_ARCHIVED = 512
Optimize = Callable[[Tensor], None]  # takes a gradient step on a loss


@dataclass(frozen=True)
class Progress:
    """One moment of a search.

    Attributes:
        step, calls: steps taken and oracle evaluations so far.
        best_total, best_score: of the best design so far; NaN before there is one.
        mean_score: mean of the chains' best scores.
        sequence: the best design's, empty before there is one.
    """

    step: int
    calls: int
    best_total: float
    best_score: float
    mean_score: float
    sequence: str


class Search(Float32State):
    """Base of the searches: a module whose state is all in its `state_dict()`, so that a resumed search goes on exactly.

    Noise of step i comes from a generator seeded by (seed, i): every rank, which holds the same state, draws the same.

    Args:
        chains: sequences searched at once.

    Attributes:
        problem: what is searched, from `begin` on.
        pool: the best of each chain.
        archive: the best different sequences of all.
        front: the Pareto front of all, where the oracle is a WeightedSum and the goal has a direction; else None.
        taken: steps taken.
        trajectory: a `Progress` after each step.
    """

    taken: Tensor
    seed: Tensor

    def __init__(self, chains: int) -> None:
        super().__init__()
        if chains < 1:
            raise ValueError(f"{type(self).__name__}: chains must be at least 1, got {chains}")
        self.chains = chains
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self.trajectory: list[Progress] = []

    def begin(self, problem: DesignProblem, seed: int | None = None) -> Self:
        """Sets the problem and makes the first state.

        Args:
            problem: what to search.
            seed: of all noise; drawn from the default generator if None.

        Raises:
            ValueError: a column of the oracle has the name of another column of the designs.
        """
        self.seed.fill_(int(torch.randint(2**62, ())) if seed is None else seed)
        refuse_taken_names(problem)
        self.problem = problem
        columns = len(problem.evaluator.names)
        self.pool = Pool(self.chains, problem.length, columns)
        self.archive = Archive(_ARCHIVED, problem.length, columns)
        several = isinstance(problem.evaluator.oracle, WeightedSum) and problem.goal.sign
        self.front = ParetoFront(problem) if several else None
        self.prepare()
        return self

    def prepare(self) -> None:
        """Makes what the search needs for its problem."""

    def optimizer(self) -> torch.optim.Optimizer | None:
        """What moves the parameters; None for searches without."""
        return None

    @property
    def done(self) -> bool:
        """Whether the search has come to its end."""
        raise NotImplementedError

    def step(self, optimize: Optimize) -> None:
        """One step of all chains; adds 1 to `taken`.

        Args:
            optimize: given a loss, takes a gradient step on it.
        """
        raise NotImplementedError

    def advance(self, optimize: Optimize) -> Progress:
        """One step, and what there is after it."""
        self.step(optimize)
        now = self.progress()
        if self.trajectory and now.sequence == self.trajectory[-1].sequence:
            now = replace(now, sequence=self.trajectory[-1].sequence)  # one string in memory and in a checkpoint
        self.trajectory.append(now)
        return now

    def get_extra_state(self) -> dict[str, Any]:
        """What is no tensor of fixed size."""
        return {"trajectory": [astuple(each) for each in self.trajectory]}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_extra_state` gave."""
        self.trajectory = [Progress(*each) for each in state["trajectory"]]

    def run(self, until: Callable[[Progress], bool] | None = None) -> None:
        """Runs the search without Lightning, to its end or until a condition of its progress holds."""
        optimizer = self.optimizer()

        def optimize(loss: Tensor) -> None:
            assert optimizer is not None
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        while not self.done:
            now = self.advance(optimize)
            if until is not None and until(now):
                break

    def progress(self) -> Progress:
        """Where the search stands."""
        found, pool = self.pool.found, self.pool
        calls = self.problem.evaluator.count
        if not found.any():
            return Progress(int(self.taken), calls, torch.nan, torch.nan, torch.nan, "")
        best = pool.totals.argmin()
        mean = float(pool.scores[found].mean())
        sequence = self.problem.alphabet.decode(pool.tokens[best])
        return Progress(int(self.taken), calls, float(pool.totals[best]), float(pool.scores[best]), mean, sequence)

    def designs(self, count: int, distance: int = 1, both_strands: bool = False) -> list[Design]:
        """The best designs found, best first; every one keeps all constraints.

        Args:
            count: at most so many; fewer where no more of what is in memory (the best of all, and each chain's best) differ.
            distance: least number of letters in which any two of them differ.
            both_strands: whether on the other strand, too.
        """
        return select(self.problem, [self.archive, self.pool], count, distance, both_strands)

    def pareto_front(self) -> list[Design]:
        """The designs on the Pareto front, by the first oracle's score; empty where there is a single oracle.

        Raises:
            NoFront: there are several, and the goal is a Target.
        """
        if self.front is None and isinstance(self.problem.evaluator.oracle, WeightedSum):
            raise NoFront(
                f"{self.problem.goal} of a WeightedSum has no Pareto front: it says of none of "
                f"{', '.join(self.problem.evaluator.names)} whether more or less is better. Take Maximize() or Minimize()"
            )
        return [] if self.front is None else on_front(self.problem, self.front)

    def remember(self, tokens: Tensor, scores: Tensor, chains: Tensor | None = None) -> None:
        """Keeps what is good among the sequences (N, length) of the last evaluation, exactly scored (N,).

        Args:
            tokens: (N, length).
            scores: (N,).
            chains: int64 (N,), whose they are; in turn if None.
        """
        components = self.problem.evaluator.components
        if chains is None:
            chains = torch.arange(len(tokens), device=tokens.device) % self.chains
        self.archive.offer(self.problem, tokens, scores, components)
        self.pool.offer(self.problem, tokens, scores, chains, components)
        if self.front is not None and components is not None:
            self.front.offer(self.problem, tokens, scores, components)

    def generator(self, step: int) -> torch.Generator:
        """The source of noise of a step: the same on every rank."""
        return torch.Generator(device=self.problem.device).manual_seed(numbered_seed(int(self.seed), step + 2))
