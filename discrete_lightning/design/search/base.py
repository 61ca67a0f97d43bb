"""The base of all searches: steps over many chains; the best exact sequences of each chain and of all chains are kept."""

from collections.abc import Callable
from dataclasses import astuple
from typing import Any, Self

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.oracles import WeightedSum
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.best_overall import BestOverall
from discrete_lightning.design.search.best_per_chain import BestPerChain
from discrete_lightning.design.search.design import Design, refuse_taken_names
from discrete_lightning.design.search.diverse_archive import DiverseArchive
from discrete_lightning.design.search.pareto import NoFront, ParetoFront
from discrete_lightning.design.search.selection import designs_on_front, select
from discrete_lightning.design.search.trajectory import Progress, Trajectory
from discrete_lightning.distributed import broadcast_
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._random import numbered_seed
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.recorded import Recorded

_CAPACITY, _DIVERSE = 512, 256  # of BestOverall and DiverseArchive
Optimize = Callable[[Tensor], None]  # takes a gradient step on a loss


class Search(Recorded, Float32State):
    """Base of the searches: a module with its whole state in `state_dict()`, so that a resumed search continues exactly.

    The noise of step i comes from a generator seeded by (seed, i). All ranks hold the same state, so they draw the same noise.

    Args:
        chains: the number of sequences searched at once.

    Attributes:
        problem: what is searched; set by `begin`.
        best_per_chain: the best sequence of each chain.
        best_overall: the best different sequences of all chains.
        archive: good sequences that differ from one another, for a diverse batch.
        front: the Pareto front, if the oracle is a WeightedSum and the goal is Maximize or Minimize; else None.
        taken, seed: the number of steps taken, and the seed of the noise; Python numbers in the extra state.
        trajectory: a `Progress` after each step.
    """

    def __init__(self, chains: int) -> None:
        super().__init__()
        check_at_least(1, chains=chains)
        self.chains, self.taken, self.seed = chains, 0, 0
        self._before: int | None = None  # evaluations of the problem before the first step
        self._optimizer: torch.optim.Optimizer | None = None  # of `run`
        self.trajectory = Trajectory()

    def begin(self, problem: DesignProblem, seed: int | None = None) -> Self:
        """Sets the problem and makes the initial state. A search has one problem: call `begin` once.

        Args:
            problem: what to search.
            seed: of all noise; drawn from the default generator if None.

        Raises:
            RuntimeError: the search has a problem already.
            ValueError: a column of the oracle has the name of another column of the designs.
        """
        if self.begun:
            raise RuntimeError(
                f"this {type(self).__name__} already searches a problem, and beginning another would overwrite its results: "
                "make a new search for each problem"
            )
        refuse_taken_names(problem)
        self.seed = int(torch.randint(2**62, (), device="cpu")) if seed is None else seed
        self.problem = problem
        columns = len(problem.evaluator.names)
        self.best_per_chain = BestPerChain(self.chains, problem.length, columns)
        self.best_overall = BestOverall(_CAPACITY, problem.length, columns)
        self.archive = DiverseArchive(_DIVERSE, problem.length, columns)
        has_front = isinstance(problem.evaluator.oracle, WeightedSum) and problem.goal.sign
        self.front = ParetoFront(problem) if has_front else None
        self.build()
        return self

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return "problem" in self._modules

    def build(self) -> None:
        """Makes the parameters and buffers that depend on the problem; called by `begin`."""

    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimiser of the parameters; None for a search without parameters."""
        return None

    @property
    def done(self) -> bool:
        """Whether the search has ended."""
        raise NotImplementedError

    def step(self, optimize: Optimize) -> None:
        """One step of all chains; adds 1 to `taken`.

        Args:
            optimize: given a loss, takes a gradient step on it.
        """
        raise NotImplementedError

    def advance(self, optimize: Optimize) -> Progress:
        """Takes one step and returns the progress after it."""
        if self._before is None:
            self.count_from(self.problem.evaluator.count)
        self.step(optimize)
        now = self.progress()
        self.trajectory.append(now)
        return now

    def count_from(self, before: int | None) -> None:
        """Sets how many evaluations the problem had before the first step, which are not the search's own."""
        self._before = before

    @property
    def spent(self) -> int:
        """The oracle evaluations of this search so far."""
        return 0 if self._before is None else self.problem.evaluator.count - self._before

    def get_extra_state(self) -> dict[str, Any]:
        """State that is not a tensor of fixed size."""
        return {"taken": self.taken, "seed": self.seed, "before": self._before} | {
            "trajectory": [astuple(each) for each in self.trajectory]
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_extra_state` returned."""
        self.taken, self.seed = state["taken"], state["seed"]
        self.count_from(state.get("before", 0 if self.taken else None))
        self.trajectory = Trajectory(Progress(*each) for each in state["trajectory"])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes up also what earlier versions saved: a buffer for some entries of the extra state."""
        for name in ("taken", "seed", "fitted"):
            if (buffer := state_dict.pop(prefix + name, None)) is not None:
                state_dict[f"{prefix}_extra_state"] = {**state_dict[f"{prefix}_extra_state"], name: buffer.tolist()}
        super()._load_from_state_dict(state_dict, prefix, *args)

    def agree_over_ranks(self) -> None:
        """Takes up the whole state of rank 0, so that all ranks take the same steps."""
        for tensor in (*self.parameters(), *self.buffers()):
            broadcast_(tensor.data)
        self.taken, self.seed = broadcast_(torch.tensor([self.taken, self.seed], device=self.problem.device)).tolist()

    def run(self, until: Callable[[Progress], bool] | None = None) -> None:
        """Runs the search without Lightning, to its end or until a condition of its progress holds.

        Called again, also after Ctrl-C, it goes on as if it had not been stopped between two steps.
        """
        self._require_begun()
        if self._optimizer is None:
            self._optimizer = self.optimizer()
        optimizer = self._optimizer

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
        """The progress of the search."""
        self._require_begun()
        best_per_chain = self.best_per_chain
        filled, calls = best_per_chain.filled, self.problem.evaluator.count
        if not filled.any():
            return Progress(self.taken, calls, torch.nan, torch.nan, torch.nan, "")
        best = best_per_chain.totals.argmin()
        total, score = float(best_per_chain.totals[best]), float(best_per_chain.scores[best])
        mean = float(best_per_chain.scores[filled].mean())
        sequence = self.problem.alphabet.decode(best_per_chain.tokens[best])
        return Progress(self.taken, calls, total, score, mean, sequence)

    def designs(self, count: int, distance: int = 1, both_strands: bool = False, diverse: bool = False) -> list[Design]:
        """The best designs found, best first; each satisfies all constraints.

        Args:
            count: the maximum number of designs. There are fewer if too few of the kept sequences (the 512 best of all, the
                best of each chain, and 256 good ones that differ) differ by `distance`.
            distance: the least number of letters in which any two of them differ.
            both_strands: whether a design must also differ by `distance` from the reverse complements of the others.
            diverse: whether the designs should differ as much as possible, instead of being the very best. Each has at least
                90 % of the improvement of the best one over the start (see DiverseArchive), where enough of them do.
        """
        self._require_begun()
        tables = [self.best_overall, self.best_per_chain, self.archive]
        bound = self.archive.bound(self.best_overall.totals.min()).item() if diverse else None
        return select(self.problem, tables, count, distance, both_strands, bound)

    def pareto_designs(self) -> list[Design]:
        """The designs on the Pareto front, sorted by the first oracle's score; empty if there is a single oracle.

        Raises:
            NoFront: the oracle is a WeightedSum, and the goal is a Target.
        """
        self._require_begun()
        if self.front is None and isinstance(self.problem.evaluator.oracle, WeightedSum):
            raise NoFront(
                f"{self.problem.goal} of a WeightedSum has no Pareto front: it does not say whether a higher or a lower score "
                f"of {', '.join(self.problem.evaluator.names)} is better. Use Maximize() or Minimize()"
            )
        return [] if self.front is None else designs_on_front(self.problem, self.front)

    def hypervolume(self) -> float:
        """The volume that the Pareto front dominates above `front.reference` (see ParetoFront); 0 if there is no front."""
        self._require_begun()
        return 0.0 if self.front is None else self.front.hypervolume()

    def record(self, tokens: Tensor, evaluation: Evaluation, chains: Tensor | None = None) -> None:
        """Keeps the sequences that are among the best of their chain, of all chains, or on the Pareto front.

        Args:
            tokens: (N, length).
            evaluation: what the oracle returned for exactly these sequences: scores (N,) and columns (N, columns).
            chains: int64 (N,), the chain to which each sequence belongs; in turn if None.
        """
        if chains is None:
            chains = torch.arange(len(tokens), device=tokens.device) % self.chains
        self.best_overall.update(self.problem, tokens, evaluation)
        self.archive.update(self.problem, tokens, evaluation)
        self.best_per_chain.update(self.problem, tokens, evaluation, chains)
        if self.front is not None:
            self.front.update(self.problem, tokens, evaluation)

    def generator(self, step: int) -> torch.Generator:
        """The source of noise of a step: the same on every rank."""
        return torch.Generator(device=self.problem.device).manual_seed(numbered_seed(self.seed, step + 2))

    def _require_begun(self) -> None:
        if not self.begun:
            raise RuntimeError(
                f"this {type(self).__name__} has no problem yet: call begin(problem). SequenceDesigner begins a copy of the "
                "search that it is given; the copy is `designer.search`"
            )
