"""What a judge learns from before it judges."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.shakespeare import Shakespeare, plain, play_files
from discrete_lightning.data.splits import Split
from discrete_lightning.data.text import TextData
from discrete_lightning.data.tokenizers import Tokenizer
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.text.judges import ClassifierJudge, Judge, LanguageJudge
from discrete_lightning.text.training.base_network import train_network


class Lesson(ABC):
    """How a judge is trained before a generator is: frozen dataclasses."""

    @abstractmethod
    def teach(self, judge: Judge, data: Any, tokenizer: Tokenizer) -> str:
        """Trains the judge and freezes it; returns a line that says what it has learnt."""


@dataclass(frozen=True)
class KindOfPlay(Lesson):
    """For a `ClassifierJudge` of two classes: lines of one kind of Shakespeare's plays (class 1) against lines of others (0).

    The lines are those of the training plays.

    Args:
        wanted: "comedies", "histories", "problems", "roman", "romances" or "tragedies".
        against: the other kinds.
        length: the most tokens of a line; those of fewer than 4 or of more are left out.
        steps: of Adam.
    """

    wanted: str = "comedies"
    against: Sequence[str] = ("histories",)
    length: int = 24
    steps: int = 600

    def __post_init__(self) -> None:
        check_at_least(4, length=self.length)
        check_at_least(1, steps=self.steps)
        object.__setattr__(self, "against", tuple(self.against))
        if not self.against or self.wanted in self.against:
            raise ValueError(f"KindOfPlay: {self.wanted} against other kinds, got against={list(self.against)}")

    def teach(self, judge: Judge, data: Any, tokenizer: Tokenizer) -> str:
        if not isinstance(judge, ClassifierJudge):
            raise ValueError(f"KindOfPlay teaches a ClassifierJudge, got a {type(judge).__name__}")
        if not isinstance(data, Shakespeare):
            raise ValueError(f"KindOfPlay reads the plays of the data Shakespeare, got {type(data).__name__}")
        files, (newline,) = play_files(), tokenizer.encode("\n")
        plays = data.plays("train")
        kinds = {name: files[name].parent.name for name in plays}
        unknown = {self.wanted, *self.against} - set(kinds.values())
        if unknown:
            there = ", ".join(sorted(set(kinds.values())))
            raise DataError(f"no training play is of the kind {', '.join(sorted(unknown))}; there are {there}")
        lines: list[list[int]] = []
        labels: list[int] = []
        for name, kind in kinds.items():
            if kind == self.wanted or kind in self.against:
                found = _lines(plain(plays[name]), tokenizer, newline, self.length)
                lines += found
                labels += [int(kind == self.wanted)] * len(found)
        tokens, mask = _padded(lines, newline, self.length)
        classes = torch.tensor(labels)
        few = min(len(classes) - int(classes.sum()), int(classes.sum()))
        # as many lines of each, from all places: half of them is what guessing gets right
        kept = torch.cat([_spread((classes == each).nonzero()[:, 0], few) for each in (0, 1)])
        tokens, mask, classes = tokens[kept], mask[kept], classes[kept]
        device = next(judge.parameters()).device
        right = judge.learn(tokens.to(device), classes.to(device), mask.to(device), steps=self.steps)
        others, held = " and ".join(self.against), len(kept) // 10
        return f"the judge tells {self.wanted} from {others}: it is right about {right:.2f} of {held:,} held-out lines"


@dataclass(frozen=True)
class OtherText(Lesson):
    """For a `LanguageJudge`: its network learns a text that the generator has not read.

    Args:
        file: a text file; None: the data's validation text.
        epochs: passes over it, > 0.
    """

    file: str | None = None
    epochs: float = 3.0

    def __post_init__(self) -> None:
        if not self.epochs > 0:
            raise ValueError(f"OtherText: epochs is more than 0, got {self.epochs}")

    def teach(self, judge: Judge, data: Any, tokenizer: Tokenizer) -> str:
        if not isinstance(judge, LanguageJudge):
            raise ValueError(f"OtherText teaches a LanguageJudge, got a {type(judge).__name__}")
        split: Split = "validation"
        if self.file is not None:
            text = Path(self.file).expanduser().read_text(encoding="utf-8")
        elif isinstance(data, TextData):
            text = data.text(split)
        else:
            raise ValueError(f"OtherText reads the validation text of a TextData, got {type(data).__name__}: give file")
        tokens = torch.tensor(tokenizer.encode(text))
        if len(tokens) < 2:
            raise DataError(
                "the judge has nothing to learn from: the text is empty. Give file, or data with a validation text"
            )
        judge.network.requires_grad_(True).train()
        train_network(judge.network, tokens, epochs=self.epochs, say=False)
        judge.freeze()
        return f"the judge has learnt {len(tokens):,} tokens of text"


def _lines(text: str, tokenizer: Tokenizer, newline: int, length: int) -> list[list[int]]:
    found = [[*tokenizer.encode(line.strip()), newline] for line in text.split("\n") if not line.isupper()]
    return [each for each in found if 4 <= len(each) <= length]


def _spread(indices: Tensor, count: int) -> Tensor:
    """So many of the indices, at equal distances."""
    return indices[torch.linspace(0, len(indices) - 1, count).long()] if count else indices[:0]


def _padded(lines: Sequence[Sequence[int]], end: int, length: int) -> tuple[Tensor, Tensor]:
    """Lines as int64 (N, T), filled up with their end, and the mask of what they hold."""
    tokens = torch.full((len(lines), length), end)
    mask = torch.zeros(len(lines), length, dtype=torch.bool)
    for i, line in enumerate(lines):
        tokens[i, : len(line)] = torch.tensor(line)
        mask[i, : len(line)] = True
    return tokens, mask
