"""The answers of an oracle, on disk as they come: a killed search finds them again and asks no query twice.

A file of lines, one for each call of the oracle. A line is written, flushed and synced before the search goes on, and has a
check sum, so that one that was cut by a kill is known as such: its call counts as not answered.
"""

import json
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from discrete_lightning.training.atomic_write import write_error

_SEPARATOR = ',"check":"'  # in front of the check sum, which ends a line


@dataclass(frozen=True)
class Answer:
    """What the oracle returned for one sequence.

    Attributes:
        at: the number of sequences that the search had scored before this one.
        sequence: the letters.
        gradient: whether the gradient was wanted, too (the oracle has none).
        values: the score, and the columns of a Composite oracle.
    """

    at: int
    sequence: str
    gradient: bool
    values: tuple[float, ...]


@dataclass
class AnswerJournal:
    """Writes down answers, and recalls those that the run which is continued had after its checkpoint.

    Args:
        path: the file; it is made with the first answer.
        recalled: the answers to recall, each once.
        continues: the journal of the run that is continued: it gets a line that names this one, so that continuing that run
            once more finds the answers in both. None: a new run.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answers.jsonl"
        >>> AnswerJournal(path).write([Answer(0, "ACGT", False, (0.5,)), Answer(1, "AAAA", False, (0.25,))])
        >>> answers, damaged = read_answers([path])
        >>> journal = AnswerJournal(path.with_name("answers-2.jsonl"), answers)
        >>> journal.recall("AAAA", False), journal.recall("AAAA", False), damaged
        ((0.25,), None, 0)
    """

    path: Path
    recalled: Sequence[Answer] = ()
    continues: Path | None = None
    _left: dict[tuple[str, bool], deque[Answer]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._left = defaultdict(deque)
        for answer in sorted(self.recalled, key=lambda each: each.at):
            self._left[answer.sequence, answer.gradient].append(answer)

    def recall(self, sequence: str, gradient: bool) -> tuple[float, ...] | None:
        """The values of an answer that was not recalled yet, or None: the oracle must be asked."""
        answers = self._left.get((sequence, gradient))
        return answers.popleft().values if answers else None

    def write(self, answers: Iterable[Answer]) -> None:
        """Adds the answers of one call; when this returns they are on disk.

        Raises:
            WriteError: the disk is full, or whatever else the system refuses.
        """
        rows = list(answers)
        if not rows:
            return
        if self.continues is not None and self.continues != self.path:
            with suppress(
                OSError
            ):  # a run that can only be read: this one can be continued from its own first checkpoint
                _append(self.continues, {"continued": str(self.path.resolve())})
            self.continues = None
        record = {
            "at": [each.at for each in rows],
            "sequences": [each.sequence for each in rows],
            "gradient": rows[0].gradient,
            "answers": [list(each.values) for each in rows],
        }
        try:
            _append(self.path, record)
        except OSError as error:
            raise write_error(self.path, error) from error


def read_answers(paths: Iterable[Path], first: int = 0) -> tuple[list[Answer], int]:
    """The answers in journals and in those that they name as their continuations, and the number of damaged lines.

    Args:
        paths: the journals; one that is not there is empty.
        first: answers before this number of scored sequences are left out.
    """
    found: dict[tuple[int, str, bool], Answer] = {}
    waiting, seen, damaged = [Path(path) for path in paths], set(), 0
    while waiting:
        path = waiting.pop(0)
        if path.resolve() in seen or not path.is_file():
            continue
        seen.add(path.resolve())
        for record in _records(path):
            if record is None:
                damaged += 1
            elif "continued" in record:
                waiting += journals_of_ranks(Path(record["continued"]))
            else:
                for at, sequence, values in zip(record["at"], record["sequences"], record["answers"], strict=True):
                    answer = Answer(at, sequence, record["gradient"], tuple(values))
                    if at >= first:
                        found.setdefault((at, sequence, answer.gradient), answer)
    return list(found.values()), damaged


def journal_of_rank(path: Path, rank: int) -> Path:
    """The file of a rank: `path` itself for rank 0, and with -rank1, -rank2 ... before the suffix for others.

    Example:
        >>> journal_of_rank(Path("answers.jsonl"), 1).name
        'answers-rank1.jsonl'
    """
    return path.with_name(f"{path.stem}-rank{rank}{path.suffix}") if rank else path


def journals_of_ranks(path: Path) -> list[Path]:
    """The files of all ranks that wrote beside rank 0's, `path`."""
    return [path, *sorted(path.parent.glob(f"{path.stem}-rank*{path.suffix}"))]


def _append(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, separators=(",", ":"))[:-1]
    line = f'{text}{_SEPARATOR}{crc32(text.encode()):08x}"}}\n'.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if size := file.tell():
            file.seek(size - 1)
            if file.read(1) != b"\n":  # a kill cut the last line
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _records(path: Path) -> Iterator[dict[str, Any] | None]:
    """The record of each line; None for one that is cut or otherwise damaged."""
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        text, _, check = line.partition(_SEPARATOR.encode())
        whole = check == b'%08x"}' % crc32(text)
        yield json.loads(text + b"}") if whole else None
