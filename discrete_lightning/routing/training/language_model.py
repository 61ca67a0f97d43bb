"""A causal language model whose feed-forward layers are mixtures of experts, beside a dense one of equal FLOPs."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.routing.training.compared import ComparedModel, dense_of
from discrete_lightning.routing.training.feed_forward import DenseFeedForward, FeedForward, MixtureFeedForward
from discrete_lightning.routing.training.transformer import CausalTransformer, Part, shares_of
from discrete_lightning.training.batches import Examples, examples_of


class RoutedLanguageModel(ComparedModel):
    """Two causal transformers, trained on the same batches: one with mixtures of experts, and a dense one to compare it with.

    loss = cross-entropy of the mixture + its routing loss + cross-entropy of the dense model

    Batches are `(inputs, targets)`, integers (B, S); the data module `Shakespeare` makes such. Logged of validation and test:
    `nats_per_character`, `dense_nats_per_character` (cross-entropy, the mean over tokens), and the figures of `LoadMetrics`.

    Args:
        feed_forward: makes the feed-forward layers; a `MixtureFeedForward` by default. In Python any function of `dim`.
        dense: makes those of the dense model; by default the layer of equal FLOPs that `feed_forward.dense()` gives.
        compare: whether there is a dense model.
        vocabulary: number of different tokens.
        context: the longest sequence.
        dim: d of a token.
        heads: of the attention.
        layers: number of blocks.
        share: of the tokens that pass, in (0, 1]: one number for all blocks, or one for each; 1: all tokens pass.
        conditional: what they pass, the whole "block" or its "feed_forward" layer.
        dense_layers: blocks of the dense model; by default as many as have equal FLOPs, attention's scores left out.
        learning_rate: of AdamW.

    Attributes:
        model: the CausalTransformer with mixtures.
        dense: the other, or None.

    Raises:
        ValueError: if an argument is out of its range; at a batch, if it holds other tokens, or sequences that are too long.

    Example:
        >>> model = RoutedLanguageModel(MixtureFeedForward(count=4, hidden=8), context=8, dim=16, heads=2, layers=1)
        >>> model(torch.zeros(2, 8, dtype=torch.int64)).shape
        torch.Size([2, 8, 96])
    """

    figure: ClassVar[str] = "nats_per_character"
    model: CausalTransformer

    def __init__(
        self,
        feed_forward: FeedForward | None = None,
        dense: FeedForward | None = None,
        compare: bool = True,
        vocabulary: int = 96,
        context: int = 128,
        dim: int = 128,
        heads: int = 4,
        layers: int = 3,
        share: float | list[float] = 1.0,
        conditional: Part = "block",
        dense_layers: int | None = None,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__()
        check_positive(learning_rate=learning_rate)
        feed_forward = MixtureFeedForward() if feed_forward is None else feed_forward
        sizes: dict[str, Any] = {"vocabulary": vocabulary, "context": context, "dim": dim, "heads": heads}
        self.vocabulary, self.learning_rate = vocabulary, learning_rate
        self.model = CausalTransformer(
            **sizes, layers=layers, feed_forward=feed_forward, share=share, conditional=conditional
        )
        self.dense: CausalTransformer | None = None
        if compare:
            dense = dense_of(feed_forward, dense)
            shares = shares_of(share, layers)
            count = dense_layers
            if count is None:
                count = _equal_layers(shares, conditional, dim, feed_forward, dense)
            self.dense = CausalTransformer(**sizes, layers=count, feed_forward=dense)
        self.add_metrics()

    def examples(self, batch: Any, batch_idx: int = 0) -> Examples:
        inputs, targets = examples_of(batch)
        if inputs.ndim != 2 or inputs.is_floating_point() or targets is None or targets.shape != inputs.shape:
            got = None if targets is None else tuple(targets.shape)
            raise ValueError(
                "a batch of a language model is (inputs, targets), integers (B, S) each, and the data served "
                f"{inputs.dtype} {tuple(inputs.shape)} and {got}"
            )
        if inputs.shape[1] > self.model.context:
            raise ValueError(
                f"the model takes sequences of at most context={self.model.context} tokens, and the data serves "
                f"{inputs.shape[1]}: set model.context and data.context to one number"
            )
        if batch_idx == 0 and inputs.numel():
            low, high = (int(each) for each in torch.stack([inputs, targets]).aminmax())
            if low < 0 or high >= self.vocabulary:
                raise ValueError(
                    f"tokens are 0 to {self.vocabulary - 1}, and a batch holds {low} to {high}: set vocabulary={high + 1}"
                )
        return Examples(inputs.long(), targets.long())

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each target in nats, float32 (B, S), of logits (B, S, vocabulary)."""
        flat = outputs.float().flatten(0, -2)  # of (B, V, S) not every device has a deterministic version
        return nn.functional.cross_entropy(flat, targets.flatten(), reduction="none").view(targets.shape)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Cross-entropy of each target, in nats, float32 (B, S)."""
        inputs, targets = self.examples(batch, batch_idx)
        assert targets is not None
        return {"nats": self.losses(self(inputs), targets)}


def _equal_layers(shares: list[float], conditional: Part, dim: int, feed_forward: Any, dense: Any) -> int:
    """The number of whole dense blocks with the FLOPs of blocks that shares of the tokens pass."""
    if conditional == "block" or min(shares) == 1:
        return max(1, round(sum(shares)))
    mine = feed_forward if isinstance(feed_forward, DenseFeedForward) else dense_of(feed_forward, None)
    for each in (mine, dense):
        if not isinstance(each, DenseFeedForward):
            raise ValueError(f"how many blocks have equal FLOPs cannot be seen from {each}: give dense_layers")
    # of a token: 8 d^2 in the attention's products, and 4 d h
    flops = sum(2 * dim + share * mine.hidden for share in shares)
    return max(1, round(flops / (2 * dim + dense.hidden)))
