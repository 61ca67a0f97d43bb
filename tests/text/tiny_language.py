"""A language of 3 tokens and 5 words, small enough to enumerate, and a network whose steps have weights of their own."""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.layers.relaxed_embedding import RelaxedEmbedding
from discrete_lightning.text.networks.token_network import TokenNetwork

WORDS, TOKENS = 5, 3


class StepNetwork(TokenNetwork):
    """The hidden vector of step t is tanh(row A_t + c_t), of the row before alone; float64."""

    def __init__(self, dim: int = 4, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))

        self.vocabulary = WORDS
        self.embedding = RelaxedEmbedding.tied_to(drawn(WORDS, dim))
        self.maps, self.shifts = drawn(TOKENS, dim, dim), drawn(TOKENS, dim)
        self.head = nn.Linear(dim, WORDS, dtype=torch.float64)
        with torch.no_grad():
            self.head.weight.copy_(drawn(WORDS, dim))
            self.head.bias.copy_(drawn(WORDS))

    def hidden(self, rows: Tensor, cache: Any = None) -> tuple[Tensor, int]:
        start = 0 if cache is None else int(cache)
        stop = start + rows.shape[1]
        found = torch.tanh(torch.einsum("bsd,sde->bse", rows, self.maps[start:stop]) + self.shifts[start:stop])
        return found, stop

    def select(self, cache: Any, rows: Tensor) -> Any:
        return cache


LINES = torch.tensor(list(product(range(WORDS), repeat=TOKENS)))
PROMPT = 0


def log_probabilities(network: TokenNetwork) -> Tensor:
    """Of all 125 lines after the prompt, (125,)."""
    inputs = torch.cat([torch.full((len(LINES), 1), PROMPT), LINES[:, :-1]], 1)
    return torch.log_softmax(network(inputs), -1).gather(-1, LINES.unsqueeze(-1)).squeeze(-1).sum(1)
