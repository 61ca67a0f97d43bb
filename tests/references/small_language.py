"""A language of 5 words and sentences of 3, small enough to enumerate: 125 sentences, each word given all before it."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.references.inputs import seeded

WORDS, LENGTH = 5, 3
SENTENCES = torch.tensor(list(itertools.product(range(WORDS), repeat=LENGTH)))  # (125, 3)


@dataclass(frozen=True)
class Language:
    """Logits of the first word (5,), of the second given the first (5, 5), of the third given both (5, 5, 5); float64."""

    tables: tuple[Tensor, ...]

    @classmethod
    def random(cls, seed: int, scale: float = 1.0) -> "Language":
        generator = seeded(seed)
        shapes = [(WORDS,) * (n + 1) for n in range(LENGTH)]
        return cls(
            tuple((scale * torch.randn(s, generator=generator, dtype=torch.float64)).requires_grad_() for s in shapes)
        )

    def positions(self, sentences: Tensor) -> Tensor:
        """log p of all words at each position, given the words before: (..., 3, 5)."""
        before = sentences.unbind(-1)
        rows = [table[before[:n]].expand(*sentences.shape[:-1], WORDS) for n, table in enumerate(self.tables)]
        return torch.stack(rows, -2).log_softmax(-1)

    def tokens(self, sentences: Tensor) -> Tensor:
        """log p of each word of the sentences, (..., 3)."""
        return self.positions(sentences).gather(-1, sentences.unsqueeze(-1)).squeeze(-1)

    def log_p(self) -> Tensor:
        """Of every sentence, (125,)."""
        return self.tokens(SENTENCES).sum(-1)

    def draw(self, count: int, seed: int) -> Tensor:
        """Numbers of sentences in SENTENCES, (count,)."""
        return self.log_p().detach().exp().multinomial(count, replacement=True, generator=seeded(seed))

    def gradient(self, value: Tensor) -> Tensor:
        """Of a scalar to all logits, flat (155,)."""
        grads = torch.autograd.grad(value, self.tables, retain_graph=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in grads])


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of distributions over the sentences."""
    return (log_p.exp() * (log_p - log_q)).sum()
