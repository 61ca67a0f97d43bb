"""A generator of lines that is trained through the tokens it samples, to please a frozen judge."""

from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.data.streams import NO_TARGET
from discrete_lightning.data.text import TextData
from discrete_lightning.distributed import all_reduce_sum
from discrete_lightning.estimators import Estimator, StraightThrough
from discrete_lightning.functional import keyed_examples
from discrete_lightning.functional._arguments import check_at_least, check_positive
from discrete_lightning.functional._precision import float32
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.text.judged_lines import JudgedLines, judged_lines
from discrete_lightning.text.judges import Judge
from discrete_lightning.text.metrics.distinct_n import distinct_n
from discrete_lightning.text.networks import TokenNetwork
from discrete_lightning.text.token_choice import TokenChoice
from discrete_lightning.text.training.base_network import StartedModule
from discrete_lightning.text.training.lessons import Lesson
from discrete_lightning.text.training.text_writer import printable
from discrete_lightning.training.wandb_media import log_table


class JudgedGenerator(StartedModule):
    """Trains a language model's lines on the score of a frozen judge, through the sampled tokens, with a KL brake.

    loss = -score of the judge + kl_weight KL(generator || base), both a line: see `text.judged_lines`

    Each step draws `lines` lines, that start after `prompt` and end with `end`; the data's batches only count the steps, and
    are what held-out figures are computed on. `estimator` says how the judge's gradient passes through the choices;
    LeaveOneOut takes the score function instead, each line's baseline being the mean of all the others. Logged while training:
    `train/judge`, `train/kl` (nats a line); of validation and test `judge`, `kl` and `distinct_2` of lines drawn exactly from
    one seed, `nats_per_character` of the data, and `base_nats_per_character`, that of the base.

    Args:
        judge: of the base's vocabulary.
        lesson: what the judge learns from before the first fit; None: it has learnt already.
        base: folder of a run of a model of text, or a checkpoint; None: a language model is trained first.
        network: what to train where there is no base.
        base_epochs: passes over the training text, where there is no base.
        estimator: StraightThrough by default.
        temperature: of the estimator.
        kl_weight: >= 0, a `LossWeight`.
        prompt: a text of one token or more.
        end: a text of one token.
        length: the most tokens of a line.
        lines: drawn a step.
        through_last: see `relaxed_unroll`; 0: the judge's gradient reaches each choice directly, in one parallel pass.
        learning_rate: of Adam.
        drawn: lines drawn in a validation.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> from discrete_lightning.text import ClassifierJudge, GRUNetwork
        >>> network = GRUNetwork(vocabulary=300, dim=8, hidden_dim=16)
        >>> model = JudgedGenerator(ClassifierJudge(vocabulary=300), network=network)
        >>> model.judge.training
        False
    """

    def __init__(
        self,
        judge: Judge,
        lesson: Lesson | None = None,
        base: str | None = None,
        network: TokenNetwork | None = None,
        base_epochs: float = 1.0,
        estimator: Estimator | None = None,
        temperature: float = 1.0,
        kl_weight: float = 0.1,
        prompt: str = "\n",
        end: str = "\n",
        length: int = 16,
        lines: int = 64,
        through_last: int | None = 0,
        learning_rate: float = 2e-3,
        drawn: int = 256,
    ) -> None:
        super().__init__(base, network, base_epochs)
        check_at_least(1, length=length, drawn=drawn)
        check_at_least(2, lines=lines)
        check_positive(learning_rate=learning_rate)
        if not (prompt and end):
            raise ValueError("prompt and end are texts of one token or more: a line end is enough")
        if through_last is not None and not 0 <= through_last < length:
            raise ValueError(
                f"through_last is a number of steps from 0 to length - 1 = {length - 1}, got {through_last}"
            )
        if judge.vocabulary != self.network.vocabulary:
            raise ValueError(
                f"judge and generator read one vocabulary, got V={judge.vocabulary} and {self.network.vocabulary}: set "
                "vocabulary of the judge to that of the base"
            )
        estimator = StraightThrough() if estimator is None else estimator
        self.choice = TokenChoice(estimator, temperature) if estimator.pathwise else None
        self.judge, self.lesson = judge.freeze(), lesson
        self.kl_weight = LossWeight(kl_weight)
        self.prompt, self.end, self.length, self.lines = prompt, end, length, lines
        self.through_last, self.learning_rate, self.drawn = through_last, learning_rate, drawn
        self._sums: dict[str, Tensor] = {}  # of nats and characters, in a validation or test

    def prepare(self, data: Any) -> None:
        """The judge learns."""
        if self.lesson is None:
            return
        if self.tokenizer is None or not isinstance(data, TextData):
            raise ValueError(f"a lesson needs the tokenizer of a TextData, got {type(data).__name__}")
        with torch.enable_grad():
            print(f"{type(self).__name__}: {self.lesson.teach(self.judge, data, self.tokenizer)}", flush=True)

    def draw(self, lines: int, exact: bool = True, seed: int | None = None) -> JudgedLines:
        """Lines with their scores and KL.

        Args:
            lines: how many, 2 or more.
            exact: whether tokens are drawn exactly, or as the estimator does in training.
            seed: of the draws; None: the default generator.
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        choice = None if exact else self.choice
        return judged_lines(
            self.network, self.reference, self.judge, self._prompt().expand(lines, -1), self.length, choice=choice,
            kl_weight=self.kl_weight(), end=self._end(), through_last=self.through_last, generator=generator,
        )  # fmt: skip

    def _prompt(self) -> Tensor:
        return torch.tensor([self._tokens(self.prompt)], device=self.device)

    def _end(self) -> int:
        tokens = self._tokens(self.end)
        if len(tokens) != 1:
            raise ValueError(f"end={self.end!r} must be one token, and is {len(tokens)} for this tokenizer")
        return tokens[0]

    def _tokens(self, text: str) -> list[int]:
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer yet: it is that of the data, or of the base")
        return self.tokenizer.encode(text)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        with keyed_examples(self.lines):
            found = self.draw(self.lines, exact=False)
        self.log("train/loss", found.loss.detach(), batch_size=self.lines)
        self.log("train/judge", found.scores.mean(), prog_bar=True, batch_size=self.lines)
        self.log("train/kl", found.kl.mean(), prog_bar=True, batch_size=self.lines)
        return found.loss

    def _evaluate(self, stage: str, batch: Any, batch_idx: int) -> None:
        inputs, targets = self.token_batch(batch, batch_idx)
        assert targets is not None
        for name, network in (("nats", self.network), ("base_nats", self.reference)):
            flat = float32(network.logits(inputs)[0]).flatten(0, 1)
            nats = nn.functional.cross_entropy(flat, targets.flatten(), reduction="sum", ignore_index=NO_TARGET)
            self._add(name, nats)
        self._add("characters", self.characters_of(targets))

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value.detach().float()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate("test", batch, batch_idx)

    def on_validation_epoch_start(self) -> None:
        self._sums = {}  # an earlier one may have come to nothing

    def on_test_epoch_start(self) -> None:
        self._sums = {}

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    @torch.no_grad()
    def _report(self, stage: str) -> None:
        nothing = torch.zeros((), device=self.device)
        names = ("nats", "base_nats", "characters")
        *nats, characters = all_reduce_sum(torch.stack([self._sums.get(each, nothing) for each in names]))
        self._sums = {}
        for name, total in zip(names, nats, strict=False):
            self.log(f"{stage}/{name}_per_character", total / characters.clamp_min(1), rank_zero_only=False)
        found = self.draw(max(2, self.drawn), seed=0)
        texts = self.texts_of(found)
        figures = {"judge": found.scores.float().mean(), "kl": found.kl.mean(), "distinct_2": distinct_n(texts, 2)}
        for name, value in figures.items():
            self.log(
                f"{stage}/{name}", torch.as_tensor(value, device=self.device), prog_bar=name == "judge", sync_dist=True
            )
        if stage == "val" and not self.trainer.sanity_checking and self.trainer.is_global_zero:
            rows = [
                [self.global_step, text, float(score)] for text, score in zip(texts[:32], found.scores, strict=False)
            ]
            log_table(self.trainer, "lines", ["step", "line", "judge"], rows)

    def texts_of(self, lines: JudgedLines) -> list[str]:
        """What lines spell, without their end."""
        assert self.tokenizer is not None
        end, rows = self._end(), lines.tokens.tolist()
        cut = [row[: row.index(end)] if end in row else row for row in rows]
        size = self.tokenizer.size  # a network may have tokens that the data has not: they spell nothing
        cut = [[token for token in row if token < size] for row in cut]
        return [printable(self.tokenizer.decode(row)) for row in cut]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), self.learning_rate)
