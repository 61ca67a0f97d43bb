"""Logits of many sequences at once: the parameters that a gradient search optimises."""

import torch
from torch import Tensor, nn

from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device


class SequenceLogits(ConstantBuffers):
    """One parameter (chains, length, letters), float32 under every precision. Logits of letters that are not allowed are -inf.

    Args:
        chains: number of independent sequences.
        length: of each.
        letters: of the alphabet, at least 2.
        allowed: bool (length, letters), on a device that is not the meta device; all letters if None.

    Raises:
        ValueError: a size is too small, or no letter is allowed at a position.

    Example:
        >>> SequenceLogits(2, 3, 4, allowed=torch.tensor([[True, False, True, True]]).expand(3, 4))()[0, 0]
        tensor([0., -inf, 0., 0.], grad_fn=<SelectBackward0>)
    """

    allowed: Tensor

    def __init__(self, chains: int, length: int, letters: int, allowed: Tensor | None = None) -> None:
        super().__init__()
        if chains < 1 or length < 1 or letters < 2:
            raise ValueError(
                f"SequenceLogits needs chains, length >= 1 and letters >= 2, got {chains}, {length}, {letters}"
            )
        with real_device():
            mask = torch.ones(length, letters, dtype=torch.bool) if allowed is None else allowed.clone()
        if not mask.any(-1).all():
            raise ValueError(f"no letter is allowed at positions {(~mask.any(-1)).nonzero().flatten().tolist()}")
        self.logits = nn.Parameter(torch.zeros(chains, length, letters, dtype=torch.float32))
        self.register_constant("allowed", mask)

    def forward(self) -> Tensor:
        """Logits (chains, length, letters)."""
        return self.logits.masked_fill(~self.allowed, -torch.inf)

    @torch.no_grad()
    def set_letters_(self, tokens: Tensor, logit: float) -> None:
        """Sets the logits of the letters `tokens` (length,) or (chains, length) to `logit`, and all others to 0."""
        self.logits.zero_().scatter_(-1, tokens.expand(self.logits.shape[:2]).unsqueeze(-1), logit)

    @torch.no_grad()
    def randomize_(self, std: float, generator: torch.Generator | None = None) -> None:
        """Sets the logits to independent normal random numbers with mean 0 and standard deviation `std`."""
        noise = torch.randn(self.logits.shape, dtype=torch.float32, generator=generator, device=self.logits.device)
        self.logits.copy_(std * noise)
