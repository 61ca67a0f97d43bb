"""Texts of a few lines from a language model: how they are drawn, scored and told from held-out ones."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from discrete_lightning.data.streams import NO_TARGET
from discrete_lightning.data.tokenizers import Tokenizer
from discrete_lightning.functional import kl_to_reference
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.functional._precision import float32
from discrete_lightning.text.generation import SampledSequence, sample_sequences
from discrete_lightning.text.limited_network import LimitedNetwork
from discrete_lightning.text.metrics.nats_per_character import NatsPerCharacter
from discrete_lightning.text.metrics.words import words_of
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.text.training.base_network import StartedModule


class Drawn(NamedTuple):
    """Texts that a generator drew.

    Attributes:
        sequences: their tokens.
        texts: what these spell, the end token included.
    """

    sequences: SampledSequence
    texts: list[str]


class LineGenerator(StartedModule):
    """Base of the generators of texts of a few lines: `network` draws them, `reference` is what it started from.

    Logged of validation and test: `nats_per_word`, the cross-entropy of held-out texts by the word, and in a test
    `base_nats_per_word`, that of the reference.

    Args:
        base: folder of a run of a model of text, or a checkpoint; None: a language model is trained first.
        network: what to train where there is no base.
        base_epochs: passes over the training text, where there is no base.
        prompt: what each text starts after.
        end: a text that is one token, and ends a line.
        lines: number of lines of a text, 1 or more.
        length: the most tokens of a text, 1 or more.

    Attributes:
        allowed: bool (V,), the tokens that may be drawn.
    """

    def __init__(
        self,
        base: str | None,
        network: TokenNetwork | None,
        base_epochs: float,
        prompt: str,
        end: str,
        lines: int,
        length: int,
    ) -> None:
        super().__init__(base, network, base_epochs)
        check_at_least(1, lines=lines, length=length)
        if not prompt:
            raise ValueError("prompt is a text of one character or more: a line end is enough")
        self.prompt, self.end, self.lines, self.length = prompt, end, lines, length
        self.allowed: Tensor
        self.register_buffer("allowed", torch.ones(self.network.vocabulary, dtype=torch.bool))
        if self.tokenizer is not None:
            self.allowed[self.tokenizer.size :] = False  # a network may have more tokens than a short text has words
        # of lines of the data, by the word: words are what the forms of verse count
        self.val_nats, self.test_nats, self.base_nats = NatsPerCharacter(), NatsPerCharacter(), NatsPerCharacter()

    def use_tokenizer(self, tokenizer: Tokenizer) -> None:
        super().use_tokenizer(tokenizer)
        self.allowed[tokenizer.size :] = False

    def nats_of_lines(self, network: TokenNetwork, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy of all targets, in nats, and their number."""
        logits = float32(network.logits(inputs)[0]).flatten(0, 1)
        nats = nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum", ignore_index=NO_TARGET)
        return nats, (targets != NO_TARGET).sum()

    def _tokens_of(self, text: str) -> list[int]:
        assert self.tokenizer is not None
        return self.tokenizer.encode(text)

    def end_token(self) -> int:
        """The token that ends a line.

        Raises:
            ValueError: if `end` is not one token.
        """
        tokens = self._tokens_of(self.end)
        if len(tokens) != 1:
            raise ValueError(f"end={self.end!r} must be one token, and is {len(tokens)}")
        return tokens[0]

    def drawn_from(self) -> LimitedNetwork:
        return LimitedNetwork(self.network, self.allowed)

    @torch.no_grad()
    def draw(
        self,
        samples: int,
        temperature: float = 1.0,
        reference: bool = False,
        generator: torch.Generator | None = None,
    ) -> Drawn:
        """Texts of the generator, or of the language model that it started from.

        Args:
            samples: how many.
            temperature: >= 0.
            reference: whether those of the language model.
            generator: source of randomness.
        """
        model = LimitedNetwork(self.reference if reference else self.network, self.allowed)
        prompt = torch.tensor(self._tokens_of(self.prompt), device=self.device).expand(samples, -1)
        sequences = sample_sequences(
            model,
            prompt,
            self.length,
            end=self.end_token(),
            ends=self.lines,
            temperature=temperature,
            generator=generator,
        )
        return Drawn(sequences, self.texts_of(sequences))

    def texts_of(self, sequences: SampledSequence) -> list[str]:
        """What sequences spell, the end token included."""
        assert self.tokenizer is not None
        lengths = sequences.mask.sum(1).tolist()
        rows = sequences.tokens.tolist()
        return [self.tokenizer.decode(row[:length]) for row, length in zip(rows, lengths, strict=True)]

    def scored(self, sequences: SampledSequence) -> tuple[Tensor, Tensor]:
        """Log pi of each token, and the exact KL of each step to the language model: (m, T) each, with their gradients."""
        tokens, mask = sequences.tokens, sequences.mask
        prompt = torch.tensor(self._tokens_of(self.prompt), device=tokens.device).expand(len(tokens), -1)
        inputs = torch.cat([prompt, tokens[:, :-1]], 1)
        start = prompt.shape[1] - 1
        kept = self.allowed.nonzero()[:, 0]
        place = torch.zeros_like(self.allowed, dtype=torch.int64).scatter_(
            0, kept, torch.arange(len(kept), device=kept.device)
        )

        def log_p(network: TokenNetwork) -> Tensor:
            hidden = network.hidden(network.embedding.look_up(inputs))[0][:, start:][mask]  # only what was drawn
            logits = nn.functional.linear(hidden, network.head.weight[kept], network.head.bias[kept])
            return float32(logits).log_softmax(-1)

        policy = log_p(self.network)
        with torch.no_grad():
            reference = log_p(self.reference)
        log_choice = policy.gather(1, place[tokens[mask]].unsqueeze(1))[:, 0]
        kl = kl_to_reference(policy, reference, "exact")
        empty = torch.zeros(mask.shape, dtype=policy.dtype, device=mask.device)
        return empty.masked_scatter(mask, log_choice), empty.masked_scatter(mask, kl)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._held_out(self.val_nats, self.network, batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._held_out(self.test_nats, self.network, batch, batch_idx)
        self._held_out(self.base_nats, self.reference, batch, batch_idx)

    def _held_out(self, metric: NatsPerCharacter, network: TokenNetwork, batch: Any, batch_idx: int) -> None:
        inputs, targets = self.token_batch(batch, batch_idx)
        assert targets is not None
        assert self.tokenizer is not None
        nats, _ = self.nats_of_lines(network, inputs, targets)
        rows = [[token for token in row if token != NO_TARGET] for row in targets.tolist()]
        metric.update(nats, sum(len(words_of(self.tokenizer.decode(row))) for row in rows))

    def on_validation_epoch_end(self) -> None:
        self._report("val", {"nats_per_word": self.val_nats})

    def on_test_epoch_end(self) -> None:
        self._report("test", {"nats_per_word": self.test_nats, "base_nats_per_word": self.base_nats})

    def _report(self, stage: str, metrics: Mapping[str, NatsPerCharacter]) -> None:
        for name, metric in metrics.items():
            self.log(f"{stage}/{name}", metric.compute())  # equal on all ranks
            metric.reset()
