"""A network some of whose tokens are never drawn."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.text.networks import TokenNetwork


class LimitedNetwork:
    """A network whose tokens are among those allowed, for `generate` and `sample_sequences`: the others have logits of -inf.

    Args:
        network: tokens to logits.
        allowed: bool (V,), on the device of the network.

    Example:
        >>> from discrete_lightning.text import GRUNetwork
        >>> limited = LimitedNetwork(GRUNetwork(vocabulary=3, dim=4, hidden_dim=4), torch.tensor([True, False, True]))
        >>> limited.logits(torch.zeros(1, 1, dtype=torch.int64))[0].isfinite()
        tensor([[[ True, False,  True]]])
    """

    def __init__(self, network: TokenNetwork, allowed: Tensor) -> None:
        self.network, self.forbidden, self.context = network, ~allowed, network.context

    def logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, S, V) of the token after each of the tokens, integers (B, S), and the cache after them."""
        logits, cache = self.network.logits(tokens, cache)
        return logits.masked_fill(self.forbidden, -torch.inf), cache
