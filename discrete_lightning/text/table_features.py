"""Words that share a feature move together: what is known of words speeds up what is learnt of them.

    table_v = weight_v + sum_f features_vf projection_f

A table of words has a row for each word, and a word's row learns from that word alone. Rows that share features (a stress
pattern, a rhyme) also share directions: the table of a factored language model (Bilmes & Kirchhoff 2003,
https://aclanthology.org/N03-2002). After each step the projection is folded into the weight: the network stays what it was.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def feature_matrix(features: Sequence[Sequence[str]]) -> Tensor:
    """Names of the features of each word as a matrix, float32 (V, F); a word of n features has entries 1 / sqrt(n).

    Features of a single word are left out: its row has them already.

    Example:
        >>> feature_matrix([["iamb"], ["iamb", "rhymes with day"], ["trochee"], []])
        tensor([[1.],
                [1.],
                [0.],
                [0.]])
    """
    counts = Counter(name for names in features for name in set(names))
    columns = {name: i for i, name in enumerate(sorted(name for name, count in counts.items() if count > 1))}
    matrix = torch.zeros(len(features), len(columns))
    for row, names in enumerate(features):
        shared = sorted({columns[name] for name in names if name in columns})
        matrix[row, shared] = len(shared) ** -0.5 if shared else 0.0
    return matrix


class TableFeatures(nn.Module):
    """Directions that the rows of a table share, as parameters of the optimiser that trains the table.

    After the backward pass `add_gradient`, after the optimiser's step `fold`. The projection is 0 in between.

    Args:
        features: (V, F).
        dim: D of the table.

    Example:
        >>> table = nn.Parameter(torch.zeros(3, 2))
        >>> shared = TableFeatures(feature_matrix([["a"], ["a"], []]), dim=2)
        >>> optimizer = torch.optim.SGD([table, *shared.parameters()], lr=1.0)
        >>> table[0].sum().backward()  # says nothing of word 1
        >>> shared.add_gradient(table)
        >>> optimizer.step()
        >>> shared.fold(table)
        >>> table.detach()
        tensor([[-2., -2.],
                [-1., -1.],
                [ 0.,  0.]])
    """

    features: Tensor

    def __init__(self, features: Tensor, dim: int) -> None:
        super().__init__()
        self.register_buffer("features", features)
        self.projection = nn.Parameter(torch.zeros(features.shape[1], dim))

    @torch.no_grad()
    def add_gradient(self, table: Tensor) -> None:
        """Adds the gradient of the projection, given that of the table (V, D)."""
        if table.grad is not None:
            # float32 whatever the table is in
            found = self.features.t() @ table.grad[: len(self.features)].to(self.features.dtype)
            self.projection.grad = found if self.projection.grad is None else self.projection.grad + found

    @torch.no_grad()
    def fold(self, table: Tensor) -> None:
        """Moves the rows of the table along what the projection has become, and sets it to 0."""
        table[: len(self.features)] += (self.features @ self.projection).to(table.dtype)
        self.projection.zero_()
