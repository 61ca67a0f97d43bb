"""Binary images: each pixel becomes 1 with its grey value as probability (Salakhutdinov & Murray 2008).

`fixed` draws once. "Statically binarised MNIST" in papers is a file of one such draw (Larochelle & Murray 2011), which no
package index has; this is the same procedure with other random numbers, so log-likelihoods agree with published ones up to
sampling error. `dynamic` draws again at every access (Burda et al. 2016, https://arxiv.org/abs/1509.00519), so that a model
cannot memorise the bits.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Binarize = Literal["none", "fixed", "dynamic"]
MODES: tuple[str, ...] = get_args(Binarize)


def bernoulli_bits(pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws each pixel: 255 with probability pixel / 255, else 0.

    Args:
        pixels: uint8, any shape, on the CPU.
        generator: source of randomness; torch's default generator if None.

    Returns:
        uint8 of the same shape, every value 0 or 255.

    Example:
        >>> bernoulli_bits(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([  0, 255], dtype=torch.uint8)
    """
    # pixel of the 255 values 0..254 lie below it: no float is needed, and 0 and 255 are certain
    threshold = torch.randint(255, pixels.shape, dtype=torch.uint8, generator=generator)
    return (threshold < pixels).to(torch.uint8) * 255
