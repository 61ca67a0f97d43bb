"""A head that shares the table of the embedding (Press & Wolf 2017, https://arxiv.org/abs/1608.05859)."""

import torch
from torch import Tensor, nn

from discrete_lightning.layers.relaxed_embedding import RelaxedEmbedding


class TiedHead(nn.Module):
    """logits = x table^T + bias. The table is the embedding's parameter, and is not a second time in the state.

    Args:
        embedding: whose table (V, D) it is.

    Example:
        >>> embedding = RelaxedEmbedding(num_embeddings=5, embedding_dim=3)
        >>> head = TiedHead(embedding)
        >>> head(torch.randn(2, 3)).shape, [name for name, _ in head.named_parameters()]
        (torch.Size([2, 5]), ['bias'])
    """

    def __init__(self, embedding: RelaxedEmbedding) -> None:
        super().__init__()
        # in a tuple it is no sub-module; copies of the whole network keep the two together
        self._embedding = (embedding,)
        self.bias = nn.Parameter(torch.zeros(len(embedding.weight)))

    @property
    def weight(self) -> Tensor:
        """The table, (V, D)."""
        return self._embedding[0].weight

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., V) of vectors (..., D)."""
        return nn.functional.linear(x, self.weight, self.bias)
