"""A language of 5 words whose lines of 4 can be enumerated, and what its network really does."""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.text.networks import GRUNetwork, TokenNetwork, TransformerNetwork
from discrete_lightning.text.word_search import WordProblem

V = 5
LINE = torch.tensor([0, 0, 3, 0])
FREE = torch.tensor([True, True, False, True])
PROMPT = torch.tensor([1, 4])


def tiny_network(kind: str = "gru", seed: int = 0, scale: float = 3.0) -> TokenNetwork:
    """A network whose predictions differ much from word to word; float32, in train() as a trainer leaves it."""
    torch.manual_seed(seed)
    network: TokenNetwork = (
        GRUNetwork(V, dim=6, hidden_dim=8, dropout=0.3)
        if kind == "gru"
        else TransformerNetwork(V, context=8, dim=8, heads=2, layers=1, dropout=0.3)
    )
    with torch.no_grad():
        network.embedding.weight.normal_(std=1.0)
        for parameter in network.parameters():
            parameter.mul_(scale if parameter.ndim > 1 else 1.0)
        network.embedding.weight.div_(scale)
    return network


def tiny_problem(kind: str = "gru", allowed: Tensor | None = None, **arguments: Any) -> WordProblem:
    return WordProblem(tiny_network(kind, **arguments), LINE, FREE, PROMPT, allowed)


def all_words(count: int = 3) -> Tensor:
    return torch.tensor(list(product(range(V), repeat=count)))


@torch.no_grad()
def naive_nll(network: TokenNetwork, words: Tensor) -> Tensor:
    """float64, one line and one word at a time, the prompt read again for each."""
    training = network.training
    network = network.eval().double()
    found = []
    for row in words.tolist():
        line = LINE.tolist()
        for position, word in zip(FREE.nonzero().flatten().tolist(), row, strict=True):
            line[position] = word
        total = 0.0
        for t in range(len(line)):
            logits = network(torch.tensor([PROMPT.tolist() + line[:t]]))[0, -1]
            total -= float(logits.log_softmax(-1)[line[t]])
        found.append(total)
    network.float().train(training)
    return torch.tensor(found, dtype=torch.float64)


class Rows:
    """Counts the rows that go through a network forwards and backwards, by hooks on its embedding and its head."""

    def __init__(self, network: TokenNetwork) -> None:
        self.forwards = self.backwards = 0
        # one call of the head is one pass: `hidden` is no module
        network.head.register_forward_hook(self._forward)

    def _forward(self, _: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        self.forwards += len(output)
        if output.requires_grad:
            output.register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
