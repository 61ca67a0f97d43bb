"""The sequences at which chains were, every so many steps: a sample of the distribution that they draw from."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.layers.float32 import Float32State


class ChainSamples(Float32State):
    """A growing table of the chains' sequences.

    Args:
        chains: the number of chains.
        length: of the sequences.

    Attributes:
        tokens: int32 (room, chains, length), of which the first `count` rows are filled.
        count: int64 0-dim.
    """

    tokens: Tensor
    count: Tensor

    def __init__(self, chains: int, length: int) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(0, chains, length, dtype=torch.int32))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self) -> None:
        """No samples, as at the start; after `to_empty` of a table that was built on the meta device."""
        self.count.zero_()

    def append(self, tokens: Tensor) -> None:
        """Adds the sequences (chains, length) of all chains."""
        count = int(self.count)
        if count == len(self.tokens):  # twice the room, so that all appends together copy each row once or twice
            self.tokens = torch.cat([self.tokens, self.tokens.new_zeros(max(16, count), *self.tokens.shape[1:])])
        self.tokens[count] = tokens
        self.count += 1

    def all(self) -> Tensor:
        """int64 (samples, chains, length)."""
        return self.tokens[: int(self.count)].long()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Gives the table the room of the saved one before it is loaded."""
        if (saved := state_dict.get(f"{prefix}tokens")) is not None:
            self.tokens = self.tokens.new_zeros(len(saved), *self.tokens.shape[1:])
        super()._load_from_state_dict(state_dict, prefix, *args)
