"""A gated recurrent unit (Cho et al. 2014, https://arxiv.org/abs/1406.1078) as a language model."""

from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.relaxed_embedding import RelaxedEmbedding
from discrete_lightning.text.networks.tied_head import TiedHead
from discrete_lightning.text.networks.token_network import TokenNetwork


class GRUNetwork(TokenNetwork):
    """Embedding, GRU, projection, and a `TiedHead`.

    Its cache is the state of the GRU, (layers, B, hidden), whatever the number of tokens.

    Args:
        vocabulary: V, number of different tokens.
        dim: D of the table.
        hidden_dim: of the GRU.
        layers: of the GRU.
        dropout: share of the hidden vectors' numbers that training sets to 0, in [0, 1).

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import torch
        >>> network = GRUNetwork(vocabulary=10, dim=8, hidden_dim=16)
        >>> logits, cache = network.logits(torch.zeros(2, 5, dtype=torch.int64))
        >>> logits.shape, cache.shape
        (torch.Size([2, 5, 10]), torch.Size([1, 2, 16]))
    """

    def __init__(
        self, vocabulary: int, dim: int = 192, hidden_dim: int = 256, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_at_least(1, vocabulary=vocabulary, dim=dim, hidden_dim=hidden_dim, layers=layers)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a share in [0, 1), got {dropout}")
        self.vocabulary = vocabulary
        self.embedding = RelaxedEmbedding(vocabulary, dim)
        nn.init.normal_(self.embedding.weight, std=0.1)  # it also makes logits: N(0, 1) would start far from uniform
        self.gru = nn.GRU(dim, hidden_dim, layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(hidden_dim, dim)
        self.head = TiedHead(self.embedding)

    def hidden(self, rows: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, cache = self.gru(rows, cache)
        return self.dropout(self.projection(states)), cache

    def select(self, cache: Tensor, rows: Tensor) -> Tensor:
        return cache[:, rows]

    def carried(self, cache: Tensor) -> Tensor:
        return cache.detach()
