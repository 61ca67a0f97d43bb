"""Small networks, and a language of tables that is one."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.text.networks import GRUNetwork, TokenNetwork, TransformerNetwork

VOCABULARY = 11
KINDS = ["gru", "gru of two layers", "transformer"]


def network(kind: str, seed: int = 0, context: int = 32) -> TokenNetwork:
    """A network of random weights, in eval, with logits that are far from uniform."""
    torch.manual_seed(seed)
    made: TokenNetwork
    if kind == "transformer":
        made = TransformerNetwork(VOCABULARY, context, dim=16, heads=2, layers=2)
    else:
        made = GRUNetwork(VOCABULARY, dim=8, hidden_dim=16, layers=2 if "two" in kind else 1)
    with torch.no_grad():
        made.embedding.weight.mul_(1.5 / made.embedding.weight.std())
        made.head.bias.normal_()
    return made.eval()


class Bigrams:
    """Logits of the next token by the one before: no module, no context, no cache."""

    def __init__(self, seed: int = 0, vocabulary: int = 5) -> None:
        self.table = torch.randn(vocabulary, vocabulary, generator=torch.Generator().manual_seed(seed))

    def logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        return self.table[tokens], None
