"""A causal language model: the next token by cross-entropy."""

from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from discrete_lightning.data.streams import NO_TARGET
from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.functional._precision import float32
from discrete_lightning.text.metrics.nats_per_character import NatsPerCharacter
from discrete_lightning.text.networks import GRUNetwork, TokenNetwork
from discrete_lightning.text.training.text_module import TextModule


class LanguageModel(TextModule):
    """A causal language model, trained on tokens: the state of the network goes on from batch to batch where it can.

    loss = cross-entropy of the next token, the mean over tokens, in nats

    Batches are `(inputs, targets)`, integers (B, S); a target of -100 is none. Data that reads its text as streams
    (`Shakespeare(streams=True)`, `TextFiles`) goes on where the batch before ended, and so does the state of a
    `GRUNetwork` (truncated back-propagation through time); set `carry` to False for other data. Logged of validation and test:
    `nats_per_character`, the cross-entropy of the whole text over the characters of the raw text, line ends included.

    Args:
        network: tokens to logits; a `GRUNetwork` of 2,048 tokens by default.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        carry: whether the state goes on from batch to batch.

    Raises:
        ValueError: if an argument is out of its range; at a batch, if it does not fit.

    Example:
        >>> model = LanguageModel(GRUNetwork(vocabulary=10, dim=8, hidden_dim=16))
        >>> model(torch.zeros(2, 5, dtype=torch.int64)).shape
        torch.Size([2, 5, 10])
    """

    def __init__(
        self,
        network: TokenNetwork | None = None,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
        carry: bool = True,
    ) -> None:
        super().__init__()
        check_positive(learning_rate=learning_rate)
        if weight_decay < 0:
            raise ValueError(f"weight_decay is 0 or more, got {weight_decay}")
        self.network = GRUNetwork(2048) if network is None else network
        self.learning_rate, self.weight_decay, self.carry = learning_rate, weight_decay, carry
        self.val_nats, self.test_nats = NatsPerCharacter(), NatsPerCharacter()
        self._carried: Any = None  # what the network keeps of the batch before, and how many rows that had
        self._rows: int | None = None
        self._of_training: tuple[Any, int | None] = None, None

    def _nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the cross-entropies of the targets, float32."""
        logits, cache = self.network.logits(inputs, self._carried)
        self._carried = self.network.carried(cache) if self.carry else None
        flat = float32(logits).flatten(0, -2)
        return nn.functional.cross_entropy(flat, targets.flatten(), reduction="sum", ignore_index=NO_TARGET)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = self.token_batch(batch, batch_idx)
        assert targets is not None
        self._restart(batch_idx, inputs)
        nats = self._nats(inputs, targets)
        self.log("train/nats_per_character", nats.detach() / self.characters_of(targets).clamp_min(1), prog_bar=True)
        loss = nats / (targets != NO_TARGET).sum().clamp_min(1)
        self.log("train/loss", loss.detach())
        return loss

    def _restart(self, batch_idx: int, inputs: Tensor) -> None:
        """Forgets the state where another text begins, or a batch has other rows."""
        if batch_idx == 0 or self._rows != len(inputs):
            self._carried = None
        self._rows = len(inputs)

    def rank_state(self) -> Any:
        carried = move_data_to_device(self._carried, torch.device("cpu"))
        return {"carried": carried, "rows": self._rows}

    def set_rank_state(self, state: Any, device: torch.device) -> None:
        self._carried, self._rows = move_data_to_device(state["carried"], device), state["rows"]

    def _evaluate(self, metric: NatsPerCharacter, batch: Any, batch_idx: int) -> None:
        inputs, targets = self.token_batch(batch, batch_idx)
        assert targets is not None
        self._restart(batch_idx, inputs)
        metric.update(self._nats(inputs, targets), self.characters_of(targets))

    def _report(self, name: str, metric: NatsPerCharacter) -> None:
        self.log(name, metric.compute(), prog_bar=True)  # equal on all ranks
        metric.reset()

    def on_validation_epoch_start(self) -> None:
        self._of_training, self._carried = (self._carried, self._rows), None

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(self.val_nats, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._report("val/nats_per_character", self.val_nats)
        self._carried, self._rows = self._of_training  # training goes on where it was

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(self.test_nats, batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self._report("test/nats_per_character", self.test_nats)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.parameters(), self.learning_rate, betas=(0.9, 0.99), weight_decay=self.weight_decay
        )
