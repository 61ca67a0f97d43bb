"""A small causal transformer of plain Linear layers, to be pruned: norms first, learned positions."""

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.recorded import Recorded


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.down = nn.Linear(dim, hidden, bias=False), nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.attention_norm(x)).chunk(3, -1)
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in parts)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(-2))
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


class CharacterTransformer(Recorded, nn.Module):
    """Tokens to the logits of the next token.

    Args:
        vocabulary: number of different tokens.
        context: the longest sequence.
        dim: d of a token.
        heads: of the attention; divides `dim`.
        layers: number of blocks.
        hidden: numbers between the two layers of a feed-forward block.

    Attributes:
        blocks: each with the Linear layers `qkv`, `out`, `up` and `down`.

    Raises:
        ValueError: if an argument is out of its range, or a sequence is too long.

    Example:
        >>> network = CharacterTransformer(vocabulary=10, context=8, dim=16, heads=2, layers=1, hidden=32)
        >>> network(torch.zeros(2, 8, dtype=torch.int64)).shape
        torch.Size([2, 8, 10])
    """

    def __init__(
        self,
        vocabulary: int = 96,
        context: int = 64,
        dim: int = 64,
        heads: int = 4,
        layers: int = 2,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        check_at_least(1, vocabulary=vocabulary, context=context, dim=dim, heads=heads, layers=layers, hidden=hidden)
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got dim={dim}, heads={heads}")
        self.vocabulary, self.context = vocabulary, context
        self.embedding, self.positions = nn.Embedding(vocabulary, dim), nn.Embedding(context, dim)
        self.blocks = nn.Sequential(*(_Block(dim, heads, hidden) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocabulary, bias=False)
        nn.init.normal_(self.positions.weight, 0, 0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, S, vocabulary) of the token after each of tokens (B, S), integers."""
        length = tokens.shape[-1]
        if length > self.context:
            raise ValueError(
                f"the network takes sequences of at most context={self.context} tokens, and the data serves {length}: set "
                "model.network.context and data.context to one number"
            )
        place = torch.arange(length, device=tokens.device)
        return self.head(self.norm(self.blocks(self.embedding(tokens) + self.positions(place))))
