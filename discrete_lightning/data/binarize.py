"""Binary images: each pixel becomes 1 with its grey value as probability (Salakhutdinov & Murray 2008).

`fixed` draws once. The file with Larochelle's draw, which "statically binarised MNIST" means in print, is on no
package index; this is the same procedure with other random numbers, so that log-likelihoods compare within sampling
error and not bit by bit. `dynamic` draws anew at every access (Burda et al. 2016, https://arxiv.org/abs/1509.00519),
which keeps a model from learning the bits by heart.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Binarize = Literal["none", "fixed", "dynamic"]
MODES: tuple[str, ...] = get_args(Binarize)


def bernoulli_bits(pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw each pixel as 0 or 255, with probability pixel / 255 for 255.

    Args:
        pixels: uint8, any shape, on the CPU.
        generator: where the draws come from; None is torch's own.

    Returns:
        uint8 of the same shape, every value 0 or 255.

    Example:
        >>> bernoulli_bits(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([  0, 255], dtype=torch.uint8)
    """
    # pixel of the 255 values 0..254 lie below it: no float is needed, and 0 and 255 are certain
    threshold = torch.randint(255, pixels.shape, dtype=torch.uint8, generator=generator)
    return (threshold < pixels).to(torch.uint8) * 255
