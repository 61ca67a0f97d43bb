"""A language model that is trained through the words it draws, by a score function: any reward, with a KL brake."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import rank_generator
from discrete_lightning.functional import keyed_examples
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional.sequence_policy_gradient import sequence_policy_gradient
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.text.table_features import TableFeatures, feature_matrix
from discrete_lightning.text.training.line_generator import Drawn, LineGenerator
from discrete_lightning.text.training.verses import Verses

Reward = Callable[[Sequence[str]], Any]
"""Texts to n numbers, or (n, lines), of which number j is earned by the end of line j; without a gradient."""


class RewardedGenerator(LineGenerator):
    """A generator of lines, trained by a leave-one-out score function (RLOO) for any reward, braked by the KL to its start.

    loss = -E reward + kl_weight KL(pi || ref) + mle_weight cross-entropy of the data's lines

    pi is the network, ref the language model that it started from, after `adapt_steps` steps of maximum likelihood on the
    data's lines. The optimum without further terms is ref exp(reward / kl_weight) / Z: a reward of 0 or 1 with base rate p
    has the share p e^(1 / kl_weight) / (p e^(1 / kl_weight) + 1 - p). A step draws `samples` sequences without a gradient
    and scores them in one parallel pass; the gradient is that of `functional.sequence_policy_gradient`. Logged while training:
    `train/reward`, `train/kl` (nats a text), `train/words` (tokens of a text).

    Batches are `(inputs, targets)`, integers (B, S), -100 where there is no target: lines of the data, as `Verses` serves them.

    Args:
        reward: texts to n numbers, or to (n, lines), of which number j is earned by the end of line j. If it has a method
            `knows(piece) -> bool`, tokens that it does not know are never drawn, neither by pi nor by ref. If it has
            `features(piece) -> names`, the rows of tokens that share a feature learn from one another: see `TableFeatures`.
        base: folder of a run of a model of text, or a checkpoint; None: a language model is trained first.
        network: what to train where there is no base.
        base_epochs: passes over the training text, where there is no base.
        adapt_steps: of maximum likelihood on the data's lines, 0 or more.
        prompt: what each text starts after.
        end: a text that is one token, and ends a line.
        lines: number of lines of a text.
        length: the most tokens of a text.
        samples: texts a step and rank, 2 or more.
        kl_weight: >= 0, a `LossWeight` that `WeightAnnealing` can move.
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
        super().__init__(base, network, base_epochs, prompt, end, lines, length)
        check_at_least(0, adapt_steps=adapt_steps)
        check_at_least(2, samples=samples)
        check_positive(learning_rate=learning_rate)
        if not (kl_weight >= 0 and mle_weight >= 0):
            raise ValueError(f"weights are 0 or more, got kl_weight={kl_weight}, mle_weight={mle_weight}")
        self.reward, self.adapt_steps, self.samples = reward, adapt_steps, samples
        self.kl_weight = LossWeight(kl_weight)
        self.mle_weight, self.learning_rate = mle_weight, learning_rate
        self._held: tuple[TableFeatures | None] = (None,)

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        forbid = getattr(self.reward, "forbid", None)
        if forbid is not None and isinstance(data, Verses):
            forbid([line for speech in data.speeches("train") for line in speech])
        super().setup(stage)

    def prepare(self, data: Any) -> None:
        """Finds which tokens may be drawn and what they share, and adapts the language model to the data's lines."""
        assert self.tokenizer is not None
        pieces = [self.tokenizer.decode([token]) for token in range(self.tokenizer.size)]
        knows = getattr(self.reward, "knows", None)
        known = torch.tensor([knows is None or bool(knows(piece)) for piece in pieces])
        self.allowed.zero_()[: len(known)] = known.to(self.allowed.device)
        if not bool(self.allowed[self.end_token()]):
            raise ValueError(f"the reward does not know {self.end!r}, which ends a line")
        if self.adapt_steps:
            self._adapt(data, 2 if self.trainer.fast_dev_run else self.adapt_steps)  # type: ignore[attr-defined]

    def _shared(self) -> TableFeatures | None:
        """What the tokens' rows share, as the reward says; None if it says nothing."""
        features_of = getattr(self.reward, "features", None)
        if features_of is None or self.tokenizer is None:
            return None
        pieces = [self.tokenizer.decode([token]) for token in range(self.tokenizer.size)]
        matrix = feature_matrix([features_of(piece) for piece in pieces])
        return TableFeatures(matrix, self._table.shape[1]).to(self.device) if matrix.numel() else None

    @property
    def _table(self) -> Tensor:
        return self.network.embedding.weight

    def _adapt(self, data: Any, steps: int) -> None:
        print(f"{type(self).__name__}: {steps} steps of maximum likelihood on the lines of the data", flush=True)
        shared = self._shared()
        rates: list[tuple[nn.Module, float]] = [(self.network, 2e-3)] + ([(shared, 4e-3)] if shared is not None else [])
        groups: list[dict[str, Any]] = [
            {"params": list(each.parameters()), "lr": rate, "start": rate} for each, rate in rates
        ]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.01)
        for step, batch in zip(range(steps), _forever(data.train_dataloader), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = group["start"] * (1 - step / steps)
            nats, count = self.nats_of_lines(self.network, *(each.to(self.device) for each in batch))
            optimizer.zero_grad(set_to_none=True)
            (nats / count.clamp_min(1)).backward()
            if shared is not None:
                shared.add_gradient(self._table)
            nn.utils.clip_grad_norm_([each for group in groups for each in group["params"]], 1.0)
            optimizer.step()
            if shared is not None:
                shared.fold(self._table)

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
        ends = ((tokens == self.end_token()) & mask).cumsum(1)
        for part in range(given.shape[1]):
            reached = ends > part
            place = torch.where(reached.any(1), reached.float().argmax(1), last)
            rewards[rows, place] += given[:, part]
        return rewards

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = self.token_batch(batch, batch_idx)
        with keyed_examples(self.samples):
            drawn = self.draw(self.samples, generator=rank_generator(self.device))
        rewards = self.rewards_of(drawn)
        log_p, kl = self.scored(drawn.sequences)
        mask = drawn.sequences.mask
        stage = ((drawn.sequences.tokens == self.end_token()) & mask).long()
        result = sequence_policy_gradient(
            rewards, log_p, kl, float(self.kl_weight()), mask=mask, stage=stage.cumsum(1) - stage
        )
        loss = result.loss
        if self.mle_weight:
            assert targets is not None
            nats, count = self.nats_of_lines(self.network, inputs, targets)
            loss = loss + self.mle_weight * nats / count.clamp_min(1)
        self.log("train/loss", loss.detach(), batch_size=self.samples)
        self.log("train/reward", result.reward, prog_bar=True, batch_size=self.samples)
        self.log("train/kl", result.kl, prog_bar=True, batch_size=self.samples)
        self.log("train/words", mask.sum(1).float().mean(), batch_size=self.samples)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": list(self.network.parameters()), "lr": self.learning_rate}]
        self._held = (self._shared(),)  # a tuple: a module would become part of this one
        if self.shared is not None:
            groups.append({"params": list(self.shared.parameters()), "lr": self.learning_rate})
        return torch.optim.Adam(groups, betas=(0.9, 0.99))

    def on_after_backward(self) -> None:
        if self.shared is not None:
            self.shared.add_gradient(self._table)  # of several ranks: of their mean gradient

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.shared is not None:
            self.shared.fold(self._table)

    @property
    def shared(self) -> TableFeatures | None:
        """Not a sub-module: its projection is 0 between steps, and a checkpoint holds what it has moved."""
        return self._held[0]


def _forever(loader: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    while True:
        yield from loader()
