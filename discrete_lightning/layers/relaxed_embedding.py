"""An embedding that is looked up by samples instead of indices.

while training   rows = samples @ table                          gradient to both
in eval()        rows = table[argmax(samples)] * max(samples)    equal to the product for one-hot samples, and for rows of zeros
"""

from typing import Self

import torch
from torch import Tensor, nn

from discrete_lightning.functional._checks import as_indices
from discrete_lightning.layers.relaxed import Sampling


def embed(samples: Tensor, table: Tensor, relaxed: bool = True) -> Tensor:
    """Rows of a table, weighted by `samples`.

    Args:
        samples: shape (..., K), floating: relaxed, or one-hot.
        table: shape (K, D).
        relaxed: whether samples may be mixtures. If False, each sample has at most one entry that is not 0: its row is looked
            up, in K + D operations instead of K D. A NaN still gives NaN.

    Returns:
        rows (..., D), of the table's dtype.

    Raises:
        ValueError: if samples are not floating, or not of K categories.

    Example:
        >>> embed(torch.tensor([0.25, 0.75]), torch.tensor([[0.0, 4.0], [1.0, 0.0]]))
        tensor([0.7500, 1.0000])
    """
    if not samples.is_floating_point():
        raise ValueError(
            f"samples must be floating, got {samples.dtype}: use `look_up` for indices, and `.float()` for what "
            "torch.nn.functional.one_hot returns"
        )
    if not samples.ndim or samples.shape[-1] != table.shape[0]:
        raise ValueError(
            f"samples of shape (..., {table.shape[0]}) look up a table {tuple(table.shape)}, got {tuple(samples.shape)}"
        )
    if relaxed:
        return (samples.to(table.dtype) @ table).to(table.dtype)  # autocast gives its own dtype
    largest = samples.max(-1)
    return nn.functional.embedding(largest.indices, table) * largest.values.unsqueeze(-1).to(table.dtype)


class RelaxedEmbedding(Sampling):
    """`nn.Embedding` for samples: a matrix product with the table while training, an index look-up in eval().

    If samples require a gradient, eval() uses the product, too: a frozen model in eval() can be differentiated with respect
    to its input. Inside `relaxed(model)` rows are mixed as in training.

    Args:
        num_embeddings: K, rows of the table.
        embedding_dim: D.

    Attributes:
        weight: the table, a parameter (K, D), drawn from N(0, 1) as that of `nn.Embedding`.

    Raises:
        ValueError: if a size is < 1; in forward, if samples are not floating or not of K categories.

    Example:
        >>> layer = RelaxedEmbedding(num_embeddings=5, embedding_dim=3).eval()
        >>> sample = torch.nn.functional.one_hot(torch.tensor([2, 0]), 5).float()
        >>> torch.equal(layer(sample), layer.look_up(torch.tensor([2, 0])))
        True
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        if num_embeddings < 1 or embedding_dim < 1:
            raise ValueError(f"RelaxedEmbedding needs sizes >= 1, got {num_embeddings} and {embedding_dim}")
        self.weight = nn.Parameter(torch.empty(num_embeddings, embedding_dim))
        self.reset_parameters()

    @classmethod
    def tied_to(cls, weight: nn.Parameter) -> Self:
        """A layer with the parameter (K, D) of another module: of an `nn.Embedding`, or of the `nn.Linear` that makes logits.

        Raises:
            ValueError: if `weight` is not a matrix.

        Example:
            >>> logits = torch.nn.Linear(3, 5)
            >>> RelaxedEmbedding.tied_to(logits.weight).weight is logits.weight
            True
        """
        if weight.ndim != 2:
            raise ValueError(f"a table has shape (K, D), got {tuple(weight.shape)}")
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.weight = weight
        return layer

    def reset_parameters(self) -> None:
        """Draws the table again."""
        nn.init.normal_(self.weight)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))

    def forward(self, samples: Tensor) -> Tensor:
        """Rows (..., D), of the table's dtype, for samples (..., K)."""
        needs_gradient = samples.requires_grad and torch.is_grad_enabled()
        return embed(samples, self.weight, relaxed=self.training or needs_gradient)

    def look_up(self, indices: Tensor) -> Tensor:
        """Rows (..., D) for integer indices (...), as `nn.Embedding` gives them."""
        return nn.functional.embedding(as_indices(indices), self.weight)
