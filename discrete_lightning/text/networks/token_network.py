"""What a causal language model is here: tokens to rows of a table, rows to hidden vectors, hidden vectors to logits."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.layers.relaxed_embedding import RelaxedEmbedding
from discrete_lightning.text.networks.tied_head import TiedHead


class TokenNetwork(Recorded, nn.Module, ABC):
    """Base of the causal networks of this package: embedding, then `hidden`, then head.

    A subclass sets `vocabulary`, `context`, `embedding` and `head`, and has `hidden`. The three steps are apart so that words
    can be relaxed (`embedding` takes samples, `hidden` takes their rows), and so that logits need not be held (`gumbel_lookup`
    goes from hidden vectors to the next rows).

    A cache is whatever a call returned: it holds what later tokens need of earlier ones. It is never changed in place, so that
    several continuations may start from one cache.

    Attributes:
        vocabulary: V, number of different tokens.
        context: the most tokens that a pass takes, those in the cache counted; None: any number.
        embedding: the table (V, D), a `RelaxedEmbedding`.
        head: hidden (..., H) to logits (..., V), with `weight` (V, H) and `bias` (V,).
    """

    vocabulary: int
    context: int | None = None
    embedding: RelaxedEmbedding
    head: nn.Linear | TiedHead

    @abstractmethod
    def hidden(self, rows: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Rows of the table (B, S, D), which follow what is in the cache; returns (B, S, H) and the cache after them."""

    @abstractmethod
    def select(self, cache: Any, rows: Tensor) -> Any:
        """The cache of these rows of the batch, integers (B',), which may repeat."""

    def carried(self, cache: Any) -> Any:
        """What training goes on with in the next window of a text, cut off from the gradient; None: nothing."""
        return None

    def logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, S, V) of the token after each of the tokens, integers (B, S), and the cache after them."""
        hidden, cache = self.hidden(self.embedding.look_up(tokens), cache)
        return self.head(hidden), cache

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, S, V) of the token after each of the tokens, integers (B, S)."""
        return self.logits(tokens)[0]
