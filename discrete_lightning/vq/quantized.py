"""What every quantiser returns, and what it returns at padded positions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

PADDING = -1  # the index of a padded position: of no code, so that counting or looking it up by mistake is an error


class Quantized(NamedTuple):
    """What every quantiser returns. Where a mask is False: vectors of zeros, indices of -1, logits of zeros, no gradient.

    Attributes:
        quantized: vectors (..., dim), of the input's dtype, with a gradient to the input.
        indices: int64 (..., *index_shape): the code of each vector, or the codes of a quantiser made of several.
        loss: 0-dim float32: what the quantiser adds to the loss (commitment); 0 if nothing.
        logits: (..., *index_shape, num_codes) for a quantiser that samples from a distribution, else None.
    """

    quantized: Tensor
    indices: Tensor
    loss: Tensor
    logits: Tensor | None = None


def fill_padding(result: Quantized, real: Tensor, shape: torch.Size) -> Quantized:
    """The result for the positions `real` (n,) of a batch of flattened `shape`, as one for the whole batch."""

    def fill(values: Tensor, padding: float) -> Tensor:
        whole = values.new_full((math.prod(shape), *values.shape[1:]), padding)
        return whole.index_copy(0, real, values).view((*shape, *values.shape[1:]))

    return Quantized(
        fill(result.quantized, 0.0),
        fill(result.indices, PADDING),
        result.loss,
        None if result.logits is None else fill(result.logits, 0.0),
    )
