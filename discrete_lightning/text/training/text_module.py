"""Base of the models of text: a network and the tokenizer of its data, in one checkpoint."""

from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.data.streams import NO_TARGET
from discrete_lightning.data.tokenizers import Tokenizer, tokenizer_of
from discrete_lightning.functional._precision import float32
from discrete_lightning.text.limited_network import LimitedNetwork
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.training.batches import Examples, examples_of
from discrete_lightning.training.restorable import RestorableModule


class TextModule(RestorableModule):
    """Base of the models of text: a network, the tokenizer of the data, and the two in one checkpoint.

    Attributes:
        network: tokens to logits.
        tokenizer: that of the data module, or of the checkpoint; None before both.
    """

    network: TokenNetwork

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer: Tokenizer | None = None
        self._characters: Tensor | None = None

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        given = getattr(data, "tokenizer", None)
        if isinstance(given, Tokenizer):
            self.use_tokenizer(given)

    def use_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Takes a tokenizer.

        Raises:
            ValueError: if it has more tokens than the network, or is another one than the model has learnt with.
        """
        if tokenizer.size > self.network.vocabulary:
            raise ValueError(
                f"the tokenizer has {tokenizer.size} tokens and the network {self.network.vocabulary}: set vocabulary of the "
                "network to that of the data"
            )
        if self.tokenizer is not None and self.tokenizer != tokenizer:
            raise ValueError(
                f"the model has learnt with a tokenizer of {self.tokenizer.size} tokens, and the data has another one of "
                f"{tokenizer.size}: give the data, its tokenizer and its vocabulary that the model was trained with"
            )
        self.tokenizer = tokenizer

    def drawn_from(self) -> LimitedNetwork:
        """The network as `generate` takes it: tokens that the tokenizer lacks are never drawn."""
        known = self.network.vocabulary if self.tokenizer is None else self.tokenizer.size
        return LimitedNetwork(self.network, torch.arange(self.network.vocabulary, device=self.device) < known)

    def logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, S, V), -inf for tokens that are never drawn, and a cache: see `TokenNetwork.logits`."""
        return self.drawn_from().logits(tokens, cache)

    @property
    def context(self) -> int | None:
        """The most tokens that a pass takes; None: any number."""
        return self.network.context

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, S, V) of the token after each of the tokens (B, S)."""
        return self.network(tokens)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["tokenizer"] = None if self.tokenizer is None else self.tokenizer.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        state = checkpoint.get("tokenizer")
        if state is not None:
            learnt = tokenizer_of(state)
            if self.tokenizer is None:
                self.tokenizer = learnt
            elif self.tokenizer != learnt:
                raise ValueError(
                    f"the checkpoint has learnt with a tokenizer of {learnt.size} tokens, and the data has another one of "
                    f"{self.tokenizer.size}: give the data, its tokenizer and its vocabulary that the model was trained with"
                )

    def token_batch(self, batch: Any, batch_idx: int = 0) -> Examples:
        """Inputs and targets of a batch, int64 (B, S) each. Values are looked at in batch 0 alone.

        Raises:
            ValueError: if they are anything else, or do not fit the network.
        """
        inputs, targets = examples_of(batch)
        if inputs.ndim != 2 or inputs.is_floating_point() or targets is None or targets.shape != inputs.shape:
            got = None if targets is None else tuple(targets.shape)
            raise ValueError(
                "a batch of a language model is (inputs, targets), integers (B, S) each, and the data served "
                f"{inputs.dtype} {tuple(inputs.shape)} and {got}"
            )
        if batch_idx == 0 and inputs.numel():
            low, high = int(inputs.min()), int(torch.maximum(inputs.max(), targets.max()))
            if low < 0 or high >= self.network.vocabulary:
                raise ValueError(
                    f"tokens are 0 to {self.network.vocabulary - 1}, and a batch holds {low} to {high}: set vocabulary of the "
                    f"network to {high + 1} or more"
                )
        context = self.network.context
        if context is not None and inputs.shape[1] > context:
            raise ValueError(
                f"the network takes sequences of at most context={context} tokens, and the data serves {inputs.shape[1]}: set "
                "context of both to one number"
            )
        return Examples(inputs.long(), targets.long())

    def characters_of(self, targets: Tensor) -> Tensor:
        """The number of characters that targets stand for, -100 not counted; tokens without a tokenizer count as one each."""
        real = targets != NO_TARGET
        if self.tokenizer is None:
            return real.sum()
        if self._characters is None or len(self._characters) != self.tokenizer.size:
            self._characters = torch.tensor(self.tokenizer.characters())
        counts = self._characters.to(targets.device)
        return counts[targets.clamp_min(0)].masked_fill(~real, 0).sum()

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Cross-entropy of each target, in nats, float32 (B, S); 0 where there is none."""
        inputs, targets = self.token_batch(batch, batch_idx)
        assert targets is not None
        logits = float32(self(inputs)).flatten(0, -2)
        nats = nn.functional.cross_entropy(logits, targets.flatten(), reduction="none", ignore_index=NO_TARGET)
        return {"nats": nats.view(targets.shape)}
