"""A small causal transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762): norms first, rotary positions."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.causal_attention import CausalAttention
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.routing.conditional import Conditional

Part = Literal["block", "feed_forward"]


class Residual(nn.Module):
    """x + layer(norm(x)).

    Args:
        dim: d of the tokens.
        layer: (..., d) to (..., d).
    """

    def __init__(self, dim: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(dim), layer

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., d) to (..., d)."""
        return x + self.layer(self.norm(x))


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)). A token sees itself and earlier ones.

    Args:
        dim: d of the tokens.
        heads: of the attention; each has an even share of d.
        feed_forward: (..., d) to (..., d).
        share: of the tokens that pass the feed-forward layer; 1: all.
    """

    def __init__(self, dim: int, heads: int, feed_forward: nn.Module, share: float = 1.0) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(dim), CausalAttention(dim, heads)
        self.feed_forward: nn.Module = Residual(dim, feed_forward)
        if share < 1:
            self.feed_forward = Conditional(self.feed_forward, share, tokens="independent", dim=dim)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Tokens (B, S, d) to (B, S, d); `positions` in their rows, ascending integers (B, S), are 0 to S - 1 by default."""
        x = x + self.attention(self.norm(x), positions)
        return self.feed_forward(x)


def shares_of(share: float | Sequence[float], layers: int) -> list[float]:
    """The share of tokens of each block.

    Raises:
        ValueError: if there is another number of shares than of blocks, or one is out of its range.

    Example:
        >>> shares_of(0.5, layers=3)
        [0.5, 0.5, 0.5]
    """
    shares = [share] * layers if isinstance(share, int | float) else list(share)
    if len(shares) != layers:
        raise ValueError(f"share is one number, or one for each of layers={layers} blocks, got {shares}")
    if any(not 0 < each <= 1 for each in shares):
        raise ValueError(f"share is the share of tokens that pass a block, in (0, 1], got {share}")
    return shares


class CausalTransformer(Recorded, nn.Module):
    """Tokens to the logits of the next token.

    Args:
        vocabulary: number of different tokens.
        context: the longest sequence.
        dim: d of a token.
        heads: of the attention; 2 * heads divides `dim`.
        layers: number of blocks.
        feed_forward: makes the feed-forward layer of a block from `dim`: a `FeedForward`, or any function.
        share: of the tokens that pass (`Conditional`), in (0, 1]; 1: all. One number for all blocks, or one for each.
        conditional: what they pass: the "block", or its "feed_forward" layer, whose attention then sees all tokens.

    Raises:
        ValueError: if an argument is out of its range, or a sequence is too long.

    Example:
        >>> from discrete_lightning.routing.training.feed_forward import MixtureFeedForward
        >>> model = CausalTransformer(vocabulary=10, context=8, dim=16, heads=2, layers=1, feed_forward=MixtureFeedForward(4))
        >>> model(torch.zeros(2, 8, dtype=torch.int64)).shape
        torch.Size([2, 8, 10])
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        dim: int,
        heads: int,
        layers: int,
        feed_forward: Callable[[int], nn.Module],
        share: float | Sequence[float] = 1.0,
        conditional: Part = "block",
    ) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "context": context, "dim": dim, "heads": heads, "layers": layers}
        check_at_least(1, **sizes)
        if dim % (2 * heads):
            raise ValueError(f"dim must be a multiple of 2 * heads, got dim={dim}, heads={heads}")
        shares = shares_of(share, layers)
        if conditional not in get_args(Part):
            raise ValueError(f"conditional is 'block' or 'feed_forward', got {conditional!r}")
        self.context = context
        self.embedding = nn.Embedding(vocabulary, dim)
        self.blocks = nn.Sequential()
        for each in shares:
            within = each if conditional == "feed_forward" else 1.0
            block: nn.Module = Block(dim, heads, feed_forward(dim), within)
            if each < 1 and conditional == "block":
                block = Conditional(block, each, dim=dim)
            self.blocks.append(block)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, S, vocabulary) of the token after each of tokens (B, S)."""
        length = tokens.shape[1]
        if length > self.context:
            raise ValueError(f"the model takes sequences of at most context={self.context} tokens, got {length}")
        return self.head(self.norm(self.blocks(self.embedding(tokens))))
