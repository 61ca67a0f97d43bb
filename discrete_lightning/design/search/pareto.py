"""The Pareto front: sequences that no other sequence beats on one oracle without being worse on another."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.oracles import WeightedSum
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.scored import Scored, row_keys


class NoFront(ValueError):
    """A goal says of no single oracle whether more or less is better."""


def non_dominated(values: Tensor) -> Tensor:
    """Which rows of values (n, objectives), more is better, no other row dominates: bool (n,). Equal rows keep each other.

    Example:
        >>> non_dominated(torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.5, 0.5]]))
        tensor([ True,  True, False])
    """
    at_least = (values.unsqueeze(0) >= values.unsqueeze(1)).all(-1)
    more = (values.unsqueeze(0) > values.unsqueeze(1)).any(-1)
    return ~(at_least & more).any(1)


class ParetoFront(Scored):
    """The non-dominated sequences among all that were offered, each once.

    Args:
        problem: of a WeightedSum; its goal (one with a sign) and weights give each oracle's direction.
        capacity: kept at most; beyond it the ones nearest to their neighbours go.

    Attributes:
        values: float32 (n, oracles), more is better.
    """

    values: Tensor

    def __init__(self, problem: DesignProblem, capacity: int = 500) -> None:
        oracle = problem.evaluator.oracle
        assert isinstance(oracle, WeightedSum)
        super().__init__(0, problem.length, len(oracle.names))
        self.capacity = capacity
        self.register_buffer("values", torch.zeros(0, len(oracle.oracles)))

    def offer(self, problem: DesignProblem, tokens: Tensor, scores: Tensor, components: Tensor) -> None:
        """Takes in what keeps all constraints and is not dominated.

        Args:
            problem: the one it was made for.
            tokens: (N, length).
            scores: exact scores (N,).
            components: the oracle's columns (N, columns).
        """
        oracle: Any = problem.evaluator.oracle
        values = oracle.objectives(components, problem.goal.sign)
        totals = problem.total(scores, tokens)
        kept = (totals.isfinite() & problem.feasible(tokens)).nonzero().flatten()
        kept = kept[non_dominated(values[kept])]
        new = {
            "tokens": tokens,
            "scores": scores.float(),
            "totals": totals.float(),
            "calls": problem.evaluator.evaluations.expand(len(tokens)),
            "components": components.float(),
            "values": values.float(),
        }
        rows = {name: torch.cat([getattr(self, name), column[kept]]) for name, column in new.items()}
        first = {key: i for i, key in reversed(list(enumerate(row_keys(rows["tokens"]))))}
        index = torch.tensor(sorted(first.values()), dtype=torch.int64, device=tokens.device)
        index = index[non_dominated(rows["values"][index])]
        while len(index) > self.capacity:
            spread = rows["values"][index] / (rows["values"][index].std(0) + 1e-12)
            apart = torch.cdist(spread, spread).fill_diagonal_(torch.inf)
            index = index[torch.arange(len(index), device=index.device) != apart.min(1).values.argmin()]
        self._set({name: column[index] for name, column in rows.items()})

    def clear(self) -> None:
        self._set({name: buffer[:0] for name, buffer in self.named_buffers()})

    def _set(self, rows: dict[str, Tensor]) -> None:
        for name, column in rows.items():
            setattr(self, name, column)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """A saved front is as long as it was, not as long as this one is."""
        for name, buffer in self.named_buffers():
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, buffer.new_zeros(len(saved), *buffer.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *args)
