"""What sampled codebooks share: a linear layer from vectors to logits, and the table of codes."""

import torch
from torch import Tensor, nn

from discrete_lightning.functional._checks import as_indices
from discrete_lightning.vq.quantizers.code_table import CodeTable


class SampledCodebook(CodeTable):
    """Base of GumbelQuantizer and LargeGumbelQuantizer: logits = W x + b over the codes, which are parameters.

    `set_codes` sets the codes alone: the linear layer that chooses among them stays as it is.
    """

    collapse_advice = "raise marginal_entropy, start at a higher temperature or anneal it more slowly"

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__(num_codes, dim)
        self.to_logits = nn.Linear(dim, num_codes)
        self.codes = nn.Parameter(torch.randn(num_codes, dim) / dim**0.5)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.to_logits.reset_parameters()
        self.codes.normal_(std=self.dim**-0.5)

    def codes_of(self, indices: Tensor) -> Tensor:
        return nn.functional.embedding(as_indices(indices), self.codes)
