"""A small causal transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762): norms first, rotary positions."""

from collections.abc import Sequence

from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.causal_attention import CausalAttention, KeysValues
from discrete_lightning.layers.relaxed_embedding import RelaxedEmbedding
from discrete_lightning.text.networks.tied_head import TiedHead
from discrete_lightning.text.networks.token_network import TokenNetwork


class _Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = CausalAttention(dim, heads)
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def step(self, x: Tensor, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        seen, past = self.attention.step(self.norms[0](x), past)
        x = x + seen
        return x + self.mlp(self.norms[1](x)), past


class TransformerNetwork(TokenNetwork):
    """Embedding, blocks of attention and a perceptron of 4 D, a norm, and a `TiedHead`.

    Its cache holds the keys and values of each block, (B, heads, past, D / heads). Where a gradient is needed through a token
    at a time, each step keeps its own copy of the past, T^2 D numbers a block: `GRUNetwork` keeps T D.

    Args:
        vocabulary: V, number of different tokens.
        context: the most tokens that a pass takes, those in the cache counted.
        dim: D of a token; a multiple of 2 * heads.
        heads: of the attention.
        layers: number of blocks.
        dropout: share of the hidden vectors' numbers that training sets to 0, in [0, 1).

    Raises:
        ValueError: if an argument is out of its range; in a pass, if there are more tokens than `context`.

    Example:
        >>> import torch
        >>> network = TransformerNetwork(vocabulary=10, context=8, dim=16, heads=2, layers=1)
        >>> network(torch.zeros(2, 5, dtype=torch.int64)).shape
        torch.Size([2, 5, 10])
    """

    def __init__(
        self,
        vocabulary: int,
        context: int = 256,
        dim: int = 192,
        heads: int = 4,
        layers: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_at_least(1, vocabulary=vocabulary, context=context, layers=layers)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a share in [0, 1), got {dropout}")
        self.vocabulary, self.context = vocabulary, context
        self.embedding = RelaxedEmbedding(vocabulary, dim)
        nn.init.normal_(self.embedding.weight, std=0.02 * (768 / dim) ** 0.5)  # logits of the shared table near 0
        self.blocks = nn.ModuleList(_Block(dim, heads) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)
        self.head = TiedHead(self.embedding)

    def hidden(self, rows: Tensor, cache: Sequence[KeysValues] | None = None) -> tuple[Tensor, tuple[KeysValues, ...]]:
        past = 0 if cache is None else cache[0].length
        assert self.context is not None
        if past + rows.shape[1] > self.context:
            after = f" after {past}" if past else ""
            raise ValueError(
                f"the model takes at most context={self.context} tokens, got {rows.shape[1]}{after}: give fewer, or train a "
                "model with a larger context"
            )
        x, kept = rows, []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            x, each = block.step(x, None if cache is None else cache[i])
            kept.append(each)
        return self.dropout(self.norm(x)), tuple(kept)

    def select(self, cache: Sequence[KeysValues], rows: Tensor) -> tuple[KeysValues, ...]:
        return tuple(KeysValues(each.keys[rows], each.values[rows]) for each in cache)
