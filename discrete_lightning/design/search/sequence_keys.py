"""Short keys of sequences, for sets of the sequences that a search has already seen."""

from hashlib import blake2b
from typing import Final

from torch import Tensor

KEY_BYTES: Final = 16


def sequence_keys(tokens: Tensor) -> list[bytes]:
    """A key of 16 bytes for each sequence, equal for equal sequences.

    The key is a hash (BLAKE2, https://doi.org/10.17487/RFC7693), so that long sequences do not fill memory and checkpoints.

    Args:
        tokens: int64 (N, length).

    Example:
        >>> import torch
        >>> first, second, third = sequence_keys(torch.tensor([[0, 1], [1, 1], [0, 1]]))
        >>> first == third, first == second, len(first)
        (True, False, 16)
    """
    return [blake2b(row.tobytes(), digest_size=KEY_BYTES).digest() for row in tokens.cpu().numpy()]
