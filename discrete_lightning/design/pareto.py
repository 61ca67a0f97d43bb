"""The Pareto front: sequences that no other sequence beats on one oracle without being worse on another."""

import torch
from torch import Tensor

from discrete_lightning.nn import Float32State


def non_dominated(values: Tensor) -> Tensor:
    """Which rows of values (n, objectives), more is better, no other row dominates: bool (n,). Equal rows keep each other.

    Example:
        >>> non_dominated(torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.5, 0.5]]))
        tensor([ True,  True, False])
    """
    at_least = (values.unsqueeze(0) >= values.unsqueeze(1)).all(-1)
    more = (values.unsqueeze(0) > values.unsqueeze(1)).any(-1)
    return ~(at_least & more).any(1)


class ParetoFront(Float32State):
    """The non-dominated sequences among all that were offered, each once.

    Args:
        length: of the sequences.
        objectives: how many oracles.
        capacity: kept at most; beyond it the ones nearest to their neighbours go.

    Attributes:
        tokens: int64 (n, length).
        values: float32 (n, objectives), more is better.
    """

    tokens: Tensor
    values: Tensor

    def __init__(self, length: int, objectives: int, capacity: int = 500) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_buffer("tokens", torch.zeros(0, length, dtype=torch.int64), persistent=False)
        self.register_buffer("values", torch.zeros(0, objectives), persistent=False)

    def offer(self, tokens: Tensor, values: Tensor) -> None:
        """Takes in what is not dominated.

        Args:
            tokens: (n, length), which keep all constraints.
            values: (n, objectives), more is better.
        """
        own = non_dominated(values)
        tokens, values = torch.cat([self.tokens, tokens[own]]), torch.cat([self.values, values[own].float()])
        rows = tokens.cpu().numpy()
        first = {row.tobytes(): i for i, row in reversed(list(enumerate(rows)))}
        index = torch.tensor(sorted(first.values()), dtype=torch.int64, device=tokens.device)
        index = index[non_dominated(values[index])]
        while len(index) > self.capacity:
            spread = values[index] / (values[index].std(0) + 1e-12)
            apart = torch.cdist(spread, spread).fill_diagonal_(torch.inf)
            index = index[torch.arange(len(index), device=index.device) != apart.min(1).values.argmin()]
        self.tokens, self.values = tokens[index], values[index]
