"""Causal self-attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), rotary positions, a cache of keys and values.

Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864): in queries and keys the numbers i and i + d/2 at
position t are turned by the angle t * base^(-2i / d), so that their product depends on the distance alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

_BASE = 1_000.0  # the slowest pair turns once in about this many positions times 2 pi


class KeysValues(NamedTuple):
    """What the tokens so far left for later ones: keys, already turned, and values, both (B, heads, past, d / heads)."""

    keys: Tensor
    values: Tensor

    @property
    def length(self) -> int:
        """The number of tokens so far."""
        return self.keys.shape[-2]


def rotated(x: Tensor, positions: Tensor | None = None) -> Tensor:
    """Queries or keys (..., S, d), turned by their positions: 0 to S - 1, or integers that broadcast with (..., S).

    Example:
        >>> x = torch.randn(5, 8)
        >>> torch.allclose(rotated(x).norm(dim=-1), x.norm(dim=-1))
        True
    """
    length, half = x.shape[-2], x.shape[-1] // 2
    speed = _BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    place = torch.arange(length, device=x.device) if positions is None else positions
    angle = place.to(torch.float32).unsqueeze(-1) * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


class CausalAttention(nn.Module):
    """out(attention(q, k, v)) with (q, k, v) = qkv(x). A token sees itself and earlier ones.

    Args:
        dim: d of a token.
        heads: each has an even share of d.

    Raises:
        ValueError: if `dim` is no multiple of 2 * heads.

    Example:
        >>> layer, x = CausalAttention(dim=8, heads=2), torch.randn(1, 5, 8)
        >>> first, past = layer.step(x[:, :3])
        >>> torch.allclose(layer.step(x[:, 3:], past)[0], layer(x)[:, 3:], atol=1e-6)
        True
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or dim < 1 or dim % (2 * heads):
            raise ValueError(f"dim must be a multiple of 2 * heads, got dim={dim}, heads={heads}")
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """Tokens (B, S, d) to (B, S, d); `positions` in their rows, ascending integers (B, S), are 0 to S - 1 by default."""
        q, k, v = self._parts(x)
        place = None if positions is None else positions.unsqueeze(1)  # the same for all heads
        seen = scaled_dot_product_attention(rotated(q, place), rotated(k, place), v, is_causal=True)
        return self._joined(seen, x)

    def step(self, x: Tensor, past: KeysValues | None = None) -> tuple[Tensor, KeysValues]:
        """Tokens (B, S, d) that follow those in `past`; returns (B, S, d), and what tokens after these need."""
        q, k, v = self._parts(x)
        start = 0 if past is None else past.length
        place = torch.arange(start, start + x.shape[1], device=x.device)
        q, k = rotated(q, place), rotated(k, place)
        if past is None:
            seen = scaled_dot_product_attention(q, k, v, is_causal=True)
            return self._joined(seen, x), KeysValues(k, v)
        whole = KeysValues(torch.cat([past.keys, k], -2), torch.cat([past.values, v], -2))
        # `is_causal` aligns its mask to the upper left, as if there were no past
        mask = torch.arange(whole.length, device=x.device) <= place.unsqueeze(1)
        seen = scaled_dot_product_attention(q, whole.keys, whole.values, attn_mask=mask)
        return self._joined(seen, x), whole

    def _joined(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.out(seen.transpose(1, 2).flatten(-2)).to(x.dtype)  # autocast gives its own dtype

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        return q, k, v
