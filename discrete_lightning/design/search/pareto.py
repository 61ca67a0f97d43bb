"""The Pareto front: the sequences that no other sequence dominates. One dominates another if it is at least as good on all
oracles and better on one.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation
from discrete_lightning.design.oracles import WeightedSum
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.design.search.hypervolume import hypervolume
from discrete_lightning.design.search.scored_sequences import ScoredSequences
from discrete_lightning.design.search.sequence_keys import sequence_keys


class NoFront(ValueError):
    """There is no Pareto front, since the goal does not say whether a higher or a lower score of each oracle is better."""


def non_dominated(values: Tensor) -> Tensor:
    """Which rows of values (n, objectives) no other row dominates, bool (n,). Higher is better; equal rows do not dominate.

    Example:
        >>> non_dominated(torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.5, 0.5]]))
        tensor([ True,  True, False])
    """
    at_least = (values.unsqueeze(0) >= values.unsqueeze(1)).all(-1)
    more = (values.unsqueeze(0) > values.unsqueeze(1)).any(-1)
    return ~(at_least & more).any(1)


class ParetoFront(ScoredSequences):
    """The non-dominated sequences among all that were scored, without repeats.

    Args:
        problem: its oracle is a WeightedSum. The goal (Maximize or Minimize) and the weights give the direction of each oracle.
        capacity: the maximum number of sequences; beyond it those nearest to their neighbours are removed.

    Attributes:
        values: float32 (n, oracles), higher is better.
        reference: float32 (oracles,), from which the hypervolume is measured: the worst value of each oracle among the
            sequences that were scored first; NaN before.
    """

    values: Tensor
    reference: Tensor

    def __init__(self, problem: DesignProblem, capacity: int = 500) -> None:
        oracle = problem.evaluator.oracle
        assert isinstance(oracle, WeightedSum)
        super().__init__(0, problem.length, len(oracle.names))
        self.capacity = capacity
        self.register_buffer("values", torch.zeros(0, len(oracle.oracles), dtype=torch.float32))
        self.register_buffer("reference", torch.full((len(oracle.oracles),), torch.nan, dtype=torch.float32))

    def update(self, problem: DesignProblem, tokens: Tensor, evaluation: Evaluation) -> None:
        """Adds the sequences that satisfy all constraints and are not dominated, and removes those that become dominated.

        Args:
            problem: the problem given to the constructor.
            tokens: (N, length).
            evaluation: exact scores (N,) and the oracle's columns (N, columns).
        """
        oracle: Any = problem.evaluator.oracle
        scores, components = evaluation.scores, evaluation.components
        assert components is not None
        values = oracle.objectives(components, problem.goal.sign)
        totals = problem.total(scores, tokens)
        kept = (totals.isfinite() & problem.feasible(tokens)).nonzero().flatten()
        if len(kept) and bool(self.reference.isnan().any()):
            self.reference.copy_(values[kept].amin(0))
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
        first = {key: i for i, key in reversed(list(enumerate(sequence_keys(rows["tokens"]))))}
        index = torch.tensor(sorted(first.values()), dtype=torch.int64, device=tokens.device)
        index = index[non_dominated(rows["values"][index])]
        while len(index) > self.capacity:
            spread = rows["values"][index] / (rows["values"][index].std(0) + 1e-12)
            apart = torch.cdist(spread, spread).fill_diagonal_(torch.inf)
            index = index[torch.arange(len(index), device=index.device) != apart.min(1).values.argmin()]
        self._set({name: column[index] for name, column in rows.items()})

    def hypervolume(self) -> float:
        """The volume that the front dominates above `reference`, see `hypervolume.hypervolume`; 0 of an empty front."""
        return hypervolume(self.values, self.reference) if len(self.values) else 0.0

    def clear(self) -> None:
        """Removes all sequences. The reference stays."""
        self._set({name: buffer[:0] for name, buffer in self._rows()})

    def reset_parameters(self) -> None:
        """An empty front, as at the start; after `to_empty` of one that was built on the meta device."""
        self.clear()
        self.reference.fill_(torch.nan)

    def _rows(self) -> list[tuple[str, Tensor]]:
        return [(name, buffer) for name, buffer in self.named_buffers() if name != "reference"]

    def _set(self, rows: dict[str, Tensor]) -> None:
        for name, column in rows.items():
            setattr(self, name, column)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Gives the buffers the length of the saved front before they are loaded."""
        for name, buffer in self._rows():
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, buffer.new_zeros(len(saved), *buffer.shape[1:]))
        if f"{prefix}values" in state_dict:  # earlier versions saved no reference
            state_dict.setdefault(f"{prefix}reference", torch.full_like(self.reference, torch.nan))
        super()._load_from_state_dict(state_dict, prefix, *args)
