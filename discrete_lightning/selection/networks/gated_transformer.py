"""A small causal transformer whose heads, hidden units and blocks are gated."""

from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.selection.gates.by_word import check_pathwise, gate_of
from discrete_lightning.selection.ties import tie


class GatedAttention(nn.Module):
    """Causal attention; the number of heads is that of its projections, so that some can be removed.

    Args:
        dim: d of the tokens.
        heads: divides `dim`.
        gate, options: see `GatedTransformer`.
    """

    def __init__(self, dim: int, heads: int, gate: str | Estimator | None, options: dict[str, Any]) -> None:
        super().__init__()
        self.width = dim // heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.gate: nn.Module = nn.Identity()
        if gate is not None:
            self.gate = tie(gate_of(gate, heads, width=self.width, **options), [self.qkv], consumers=[self.out])

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, S, d) to (B, S, d)."""
        q, k, v = (each.unflatten(-1, (-1, self.width)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(self.gate(seen.transpose(1, 2).flatten(-2)))


class GatedResidual(nn.Module):
    """x + layer(norm(x)); with `gate`, x + gate(layer(norm(x))), which goes as a whole when the gate closes.

    Args:
        dim: d of the tokens.
        layer: (..., d) to (..., d).
        gate, options: see `GatedTransformer`; None: the block always stays.
    """

    def __init__(self, dim: int, layer: nn.Module, gate: str | Estimator | None, options: dict[str, Any]) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(dim), layer
        # one gate of width d
        self.gate = nn.Identity() if gate is None else tie(gate_of(gate, 1, width=dim, **options), block=self)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., d) to (..., d)."""
        return x + self.gate(self.layer(self.norm(x)))


class GatedTransformer(Recorded, nn.Module):
    """Tokens to the logits of the next token (Vaswani et al. 2017): norms first, learned positions.

    Args:
        vocabulary: number of different tokens.
        context: the longest sequence.
        dim: d of a token.
        heads: of the attention; divides `dim`.
        hidden: units of the feed-forward layers.
        layers: number of pairs of attention and feed-forward layer.
        gate: of heads and hidden units: one word ("hard_concrete", "stochastic", "bernoulli"), an estimator or its name; None:
            no gates, the plain network.
        blocks: whether each attention and each feed-forward layer has a gate, too, and may go as a whole.
        open: how open the gates are at first, see `gate_of`.
        options: arguments of the gates by name, such as {"per": "batch"}.

    Attributes:
        example: an input of one row, to count with.

    Raises:
        ValueError: if an argument is out of range, or a sequence is too long.

    Example:
        >>> network = GatedTransformer(vocabulary=10, context=8, dim=16, heads=4, hidden=32, layers=1)
        >>> network(torch.zeros(2, 8, dtype=torch.int64)).shape
        torch.Size([2, 8, 10])
    """

    def __init__(
        self,
        vocabulary: int = 96,
        context: int = 64,
        dim: int = 64,
        heads: int = 8,
        hidden: int = 256,
        layers: int = 2,
        gate: str | Estimator | None = "hard_concrete",
        blocks: bool = False,
        open: float = 0.95,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "context": context, "dim": dim, "heads": heads, "hidden": hidden}
        check_at_least(1, layers=layers, **sizes)
        if dim % heads:
            raise ValueError(f"dim must be a multiple of heads, got dim={dim}, heads={heads}")
        if gate is not None:
            check_pathwise(gate)
        elif blocks:
            raise ValueError("blocks=True gives each block a gate, and gate is None: give a gate, or blocks=False")
        given = {"open": open, **(options or {})}
        self.context = context
        self.embedding, self.positions = nn.Embedding(vocabulary, dim), nn.Embedding(context, dim)
        self.blocks = nn.Sequential()
        for _ in range(layers):
            first, last = nn.Linear(dim, hidden, bias=False), nn.Linear(hidden, dim, bias=False)
            # GELU before the gates: 0 stays 0 on either side
            units = nn.Identity() if gate is None else gate_of(gate, hidden, **given).between(first, [], last)
            feed_forward = nn.Sequential(first, nn.GELU(), units, last)
            for layer in (GatedAttention(dim, heads, gate, given), feed_forward):
                self.blocks.append(GatedResidual(dim, layer, gate if blocks else None, given))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocabulary, bias=False)
        for each in (self.embedding, self.positions):
            nn.init.normal_(each.weight, 0, 0.5)

    @property
    def example(self) -> Tensor:
        """Zeros (1, context), int64, where the network is."""
        return torch.zeros(1, self.context, dtype=torch.int64, device=self.head.weight.device)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, S, vocabulary) of the token after each of tokens (B, S)."""
        length = tokens.shape[1]
        if length > self.context:
            raise ValueError(
                f"the network takes sequences of at most context={self.context} tokens, and the data serves {length}: set "
                "model.network.context and data.context to one number"
            )
        places = torch.arange(length, device=tokens.device)
        return self.head(self.norm(self.blocks(self.embedding(tokens) + self.positions(places))))
