"""A language model that is trained through the words it draws, by a score function: any reward, with a KL brake."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from discrete_lightning.data.streams import NO_TARGET
from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional import kl_to_reference
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional._precision import float32
from discrete_lightning.functional.sequence_policy_gradient import sequence_policy_gradient
from discrete_lightning.text.generate import SampledSequence, sample_sequences
from discrete_lightning.text.metrics.nats_per_character import NatsPerCharacter
from discrete_lightning.text.metrics.words import words_of
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.text.training.base_network import StartedModule


class Reward(Protocol):
    """What a generator is trained to raise: any function of texts. It needs no gradient."""

    def __call__(self, texts: Sequence[str]) -> Any:
        """Rewards of texts: n numbers, or (n, parts), of which part j is earned by the end of line j."""


class Drawn(NamedTuple):
    """Texts that a generator drew.

    Attributes:
        sequences: their tokens.
        texts: what these spell, the end token included.
    """

    sequences: SampledSequence
    texts: list[str]


class RewardedGenerator(StartedModule):
    """A generator of lines, trained by a leave-one-out score function (RLOO) for any reward, braked by the KL to its start.

    loss = -E reward + kl_weight KL(pi || ref) + mle_weight cross-entropy of the data's lines

    pi is the network, ref the language model that it started from, after `adapt_steps` steps of maximum likelihood on the
    data's lines. The optimum without further terms is ref exp(reward / kl_weight) / Z: a reward of 0 or 1 with base rate p
    has the share p e^(1 / kl_weight) / (p e^(1 / kl_weight) + 1 - p). A step draws `samples` sequences without a gradient
    and scores them in one parallel pass; the gradient is that of `functional.sequence_policy_gradient`. Logged while training:
    `train/reward`, `train/kl` (nats a text), `train/words` (tokens of a text).

    Batches are `(inputs, targets)`, integers (B, S), -100 where there is no target: lines of the data, as `Verses` serves them.

    Args:
        reward: texts to rewards: see `Reward`. If it has a method `knows(piece) -> bool`, tokens that it does not know are
            never drawn, neither by pi nor by ref.
        base: folder of a run of a model of text, or a checkpoint; None: a language model is trained first.
        network: what to train where there is no base.
        base_epochs: passes over the training text, where there is no base.
        adapt_steps: of maximum likelihood on the data's lines, 0 or more.
        prompt: what each text starts after.
        end: a text that is one token, and ends a line.
        lines: number of lines of a text.
        length: the most tokens of a text.
        samples: texts a step and rank, 2 or more.
        kl_weight: >= 0.
        mle_weight: >= 0.
        learning_rate: of Adam.

    Raises:
        ValueError: if an argument is out of its range; in a step, if the reward returns another number of values, or NaN.
    """

    def __init__(
        self,
        reward: Reward,
        base: str | None = None,
        network: TokenNetwork | None = None,
        base_epochs: float = 1.0,
        adapt_steps: int = 400,
        prompt: str = "\n",
        end: str = "\n",
        lines: int = 2,
        length: int = 40,
        samples: int = 128,
        kl_weight: float = 0.25,
        mle_weight: float = 0.0,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(base, network, base_epochs)
        check_at_least(0, adapt_steps=adapt_steps)
        check_at_least(1, lines=lines, length=length)
        check_at_least(2, samples=samples)
        check_positive(learning_rate=learning_rate)
        if not (kl_weight >= 0 and mle_weight >= 0):
            raise ValueError(f"weights are 0 or more, got kl_weight={kl_weight}, mle_weight={mle_weight}")
        self.reward, self.adapt_steps, self.prompt, self.end = reward, adapt_steps, prompt, end
        self.lines, self.length, self.samples = lines, length, samples
        self.kl_weight, self.mle_weight, self.learning_rate = kl_weight, mle_weight, learning_rate
        # of lines of the data, by the word: words are what the forms of verse count
        self.val_nats, self.test_nats, self.base_nats = NatsPerCharacter(), NatsPerCharacter(), NatsPerCharacter()
        self.allowed: Tensor
        self.register_buffer("allowed", torch.ones(self.network.vocabulary, dtype=torch.bool))

    def prepare(self, data: Any) -> None:
        """Adapts the language model to the data's lines, and finds which tokens may be drawn."""
        assert self.tokenizer is not None
        knows = getattr(self.reward, "knows", None)
        if knows is not None:
            pieces = [self.tokenizer.decode([token]) for token in range(self.tokenizer.size)]
            known = torch.tensor([bool(knows(piece)) for piece in pieces])
            self.allowed.zero_()[: len(known)] = known.to(self.allowed.device)
            if not bool(self.allowed[self._end()]):
                raise ValueError(f"the reward does not know {self.end!r}, which ends a line")
        if self.adapt_steps:
            self._adapt(data)

    def _adapt(self, data: Any) -> None:
        steps = 2 if self.trainer.fast_dev_run else self.adapt_steps  # type: ignore[attr-defined]
        print(f"{type(self).__name__}: {steps} steps of maximum likelihood on the lines of the data", flush=True)
        optimizer = torch.optim.AdamW(self.network.parameters(), 2e-3, betas=(0.9, 0.99), weight_decay=0.01)
        step = 0
        while step < steps:
            for batch in data.train_dataloader():
                for group in optimizer.param_groups:
                    group["lr"] = 2e-3 * (1 - step / steps)
                nats, count = self.nats_of_lines(self.network, *(each.to(self.device) for each in batch))
                optimizer.zero_grad(set_to_none=True)
                (nats / count.clamp_min(1)).backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimizer.step()
                step += 1
                if step >= steps:
                    break

    def nats_of_lines(self, network: TokenNetwork, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy of all targets, in nats, and their number."""
        logits = float32(network.logits(inputs)[0]).flatten(0, 1)
        nats = nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum", ignore_index=NO_TARGET)
        return nats, (targets != NO_TARGET).sum()

    def _token(self, text: str) -> list[int]:
        assert self.tokenizer is not None
        return self.tokenizer.encode(text)

    def _end(self) -> int:
        tokens = self._token(self.end)
        if len(tokens) != 1:
            raise ValueError(f"end={self.end!r} must be one token, and is {len(tokens)}")
        return tokens[0]

    def logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Logits (B, S, V) of the generator, -inf for tokens that are never drawn, and a cache."""
        return self._limited(self.network, tokens, cache)

    @property
    def context(self) -> int | None:
        """The most tokens that a pass takes; None: any number."""
        return self.network.context

    def _limited(self, network: TokenNetwork, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        logits, cache = network.logits(tokens, cache)
        return logits.masked_fill(~self.allowed, -torch.inf), cache

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
        model = _Limited(self.reference if reference else self.network, self.allowed)
        prompt = torch.tensor(self._token(self.prompt), device=self.device).expand(samples, -1)
        sequences = sample_sequences(
            model, prompt, self.length, end=self._end(), ends=self.lines, temperature=temperature, generator=generator
        )
        return Drawn(sequences, self.texts_of(sequences))

    def texts_of(self, sequences: SampledSequence) -> list[str]:
        """What sequences spell, the end token included."""
        assert self.tokenizer is not None
        lengths = sequences.mask.sum(1).tolist()
        rows = sequences.tokens.tolist()
        return [self.tokenizer.decode(row[:length]) for row, length in zip(rows, lengths, strict=True)]

    def rewards_of(self, drawn: Drawn) -> Tensor:
        """The reward of each text at the choices that earned it, float32 (m, T).

        Raises:
            ValueError: if the reward returns anything but one finite number, or one row, for each text.
        """
        tokens, mask = drawn.sequences.tokens, drawn.sequences.mask
        given = torch.as_tensor(self.reward(drawn.texts), dtype=torch.float32, device=tokens.device)
        if given.ndim not in (1, 2) or len(given) != len(tokens) or (given.ndim == 2 and given.shape[1] > self.lines):
            raise ValueError(
                f"the reward returned shape {tuple(given.shape)} for {len(tokens)} texts: expected ({len(tokens)},), or "
                f"({len(tokens)}, {self.lines}) with a part for each line"
            )
        if not bool(given.isfinite().all()):
            worst = (
                int((~given.isfinite()).flatten(1).any(1).nonzero()[0])
                if given.ndim == 2
                else int((~given.isfinite()).nonzero()[0])
            )
            raise ValueError(
                f"the reward returned {given[worst].tolist()} for the text {drawn.texts[worst]!r}: expected finite numbers"
            )
        rewards = torch.zeros(tokens.shape, device=tokens.device)
        last = mask.sum(1) - 1
        rows = torch.arange(len(tokens), device=tokens.device)
        if given.ndim == 1:
            rewards[rows, last] = given
            return rewards
        ends = ((tokens == self._end()) & mask).cumsum(1)
        for part in range(given.shape[1]):
            reached = ends > part
            place = torch.where(reached.any(1), reached.float().argmax(1), last)
            rewards[rows, place] += given[:, part]
        return rewards

    def scored(self, sequences: SampledSequence) -> tuple[Tensor, Tensor]:
        """Log pi of each token, and the exact KL of each step to the language model: (m, T) each, with their gradients."""
        tokens, mask = sequences.tokens, sequences.mask
        prompt = torch.tensor(self._token(self.prompt), device=tokens.device).expand(len(tokens), -1)
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

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = self.token_batch(batch, batch_idx)
        drawn = self.draw(self.samples, generator=rank_generator(self.device))
        rewards = self.rewards_of(drawn)
        log_p, kl = self.scored(drawn.sequences)
        mask = drawn.sequences.mask
        stage = ((drawn.sequences.tokens == self._end()) & mask).long()
        result = sequence_policy_gradient(rewards, log_p, kl, self.kl_weight, mask=mask, stage=stage.cumsum(1) - stage)
        loss = result.loss
        if self.mle_weight:
            assert targets is not None
            nats, count = self.nats_of_lines(self.network, inputs, targets)
            loss = loss + self.mle_weight * nats / count.clamp_min(1)
        self.log("train/reward", result.reward, prog_bar=True, batch_size=self.samples)
        self.log("train/kl", result.kl, prog_bar=True, batch_size=self.samples)
        self.log("train/words", mask.sum(1).float().mean(), batch_size=self.samples)
        return loss

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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), self.learning_rate, betas=(0.9, 0.99))


class _Limited:
    """A network whose tokens are among those allowed."""

    def __init__(self, network: TokenNetwork, allowed: Tensor) -> None:
        self.network, self.forbidden, self.context = network, ~allowed, network.context

    def logits(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        hidden, cache = self.network.hidden(self.network.embedding.look_up(tokens), cache)
        return self.network.head(hidden[:, -1:]).masked_fill(self.forbidden, -torch.inf), cache
