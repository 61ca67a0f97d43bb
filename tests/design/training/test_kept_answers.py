"""A search that is killed and continued asks its oracle no query twice and loses no answer."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from discrete_lightning.design import Edit, FromNothing, GradientSearch, Polish, Search, SurrogateSearch
from discrete_lightning.design.answer_journal import read_answers
from discrete_lightning.design.oracles import BlackBox, TFBind8, WeightedSum
from discrete_lightning.estimators import LeaveOneOut
from discrete_lightning.models import SequenceDesigner
from discrete_lightning.training.exact_resume import ExactResume
from tests.design.runs import trainer
from tests.ranks import run_on_ranks

pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")  # each run has its own folder


class Killed(BaseException):
    """No program handles it, as if the process were gone."""


class Measured:
    """A measurement that notes each query, and dies at one of its calls."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.calls, self.dies_at = 0, dies_at

    def __call__(self, sequences: list[str]) -> Sequence[float]:
        self.calls += 1
        if self.calls == self.dies_at:
            raise Killed
        self.asked += sequences
        return [each.count("GA") + crc32(each.encode()) / 2**32 for each in sequences]


def search(kind: str) -> Search:
    if kind == "surrogate":
        return SurrogateSearch(calls=60, batch=6, first=12, candidates=40, parents=4)
    polish = Polish(sequences=2, proposals=4, patience=2)
    return GradientSearch(chains=4, steps=6, estimator=LeaveOneOut(2), polish=polish)


def designer(kind: str, measured: Measured) -> SequenceDesigner:
    torch.manual_seed(3)
    oracle: torch.nn.Module = BlackBox(measured)
    if kind == "two oracles":
        oracle = WeightedSum([oracle, BlackBox(lambda sequences: [each.count("G") for each in sequences])], [1.0, -0.1])
    return SequenceDesigner(oracle, FromNothing(8), search=search(kind), designs=5, oracle_batch=4)


class Saves(Callback):
    """Writes a checkpoint every few steps."""

    def __init__(self, path: Path, every: int) -> None:
        self.path, self.every = path, every

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.path, weights_only=False)


def run(
    folder: Path,
    model: SequenceDesigner,
    checkpoint: Path | None = None,
    every: int = 100,
    more: Sequence[Callback] = (),
) -> None:
    """Fits the model; checkpoints are written every `every` steps."""
    never = ModelCheckpoint(folder / "checkpoints", every_n_epochs=100, save_on_train_epoch_end=True)
    saves = Saves(folder / "checkpoints" / "last.ckpt", every)
    fitted: Trainer = trainer(folder, enable_checkpointing=True, callbacks=[never, saves, *more])
    fitted.fit(model, ckpt_path=checkpoint, weights_only=True)


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("*.ckpt"), key=lambda path: (path.name == "last.ckpt", path.name))


@pytest.mark.parametrize("kind", ["surrogate", "leave one out", "two oracles"])
@pytest.mark.parametrize("every", [3, 100])
def test_killed_again_and_again(kind: str, every: int, tmp_path: Path) -> None:
    """Continued from the newest run, and killed before and after its first checkpoint."""
    whole = Measured()
    uncut = designer(kind, whole)
    run(tmp_path / "uncut", uncut, every=every)
    asked: list[str] = []
    checkpoint, folder = None, tmp_path
    for number, dies_at in enumerate((1, 3, 4, 7, 2)):
        cut, folder = Measured(dies_at), tmp_path / f"cut{number}"
        with pytest.raises(Killed):
            run(folder, designer(kind, cut), checkpoint, every)
        asked += cut.asked
        checkpoint = newest(folder) if (folder / "checkpoints").exists() and list(folder.rglob("*.ckpt")) else None
    last = Measured()
    rest = designer(kind, last)
    run(tmp_path / "rest", rest, checkpoint, every)
    assert Counter(asked + last.asked) == Counter(whole.asked)
    assert rest.designs() == uncut.designs()
    assert rest.search.trajectory == uncut.search.trajectory
    assert not (tmp_path / "rest" / "checkpoints" / "start.ckpt").exists() or every == 100


def test_continuing_the_same_run_twice_finds_the_answers_of_both(tmp_path: Path) -> None:
    whole = Measured()
    run(tmp_path / "uncut", designer("surrogate", whole))
    asked: list[str] = []
    for number, dies_at in enumerate((4, 3)):
        cut = Measured(dies_at)
        start = newest(tmp_path / "cut0") if number else None
        with pytest.raises(Killed):
            run(tmp_path / f"cut{number}", designer("surrogate", cut), start)
        asked += cut.asked
    last = Measured()
    run(tmp_path / "rest", designer("surrogate", last), newest(tmp_path / "cut0"))
    assert Counter(asked + last.asked) == Counter(whole.asked)


def test_a_cut_line_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = Measured(5)
    with pytest.raises(Killed):
        run(tmp_path / "cut", designer("surrogate", cut))
    journal = tmp_path / "cut" / "answers.jsonl"
    written = journal.read_bytes()
    journal.write_bytes(written[:-20])
    moved = tmp_path / "moved"
    (tmp_path / "cut").rename(moved)
    last = Measured()
    run(tmp_path / "rest", designer("surrogate", last), newest(moved))
    twice = Counter(cut.asked + last.asked)
    assert sum(number > 1 for number in twice.values()) == 4  # one call of four
    said = capsys.readouterr().out
    assert "note: 1 damaged lines of " in said
    assert "12 answers of the oracle since the checkpoint are taken from " in said
    answers, damaged = read_answers([moved / "answers.jsonl"])
    assert damaged == 1
    assert len({each.sequence for each in answers}) == 60


def test_an_oracle_with_a_gradient_leaves_no_journal(tmp_path: Path) -> None:
    model = SequenceDesigner(TFBind8(), Edit("ACGTACGT"), search=GradientSearch(chains=2, steps=3))
    run(tmp_path, model, every=2)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["last.ckpt"]


def test_a_wrong_score_is_not_kept(tmp_path: Path) -> None:
    oracle = BlackBox(lambda sequences: [float("nan") if each[0] == "A" else 1.0 for each in sequences])
    torch.manual_seed(0)
    model = SequenceDesigner(oracle, FromNothing(8), search=SurrogateSearch(calls=12, first=12))
    with pytest.raises(ValueError, match="returned NaN"):
        run(tmp_path, model)
    text = (tmp_path / "answers.jsonl").read_text()
    assert all(each[0] != "A" for each in json.loads(text)["sequences"])


def test_the_first_checkpoint_is_exact(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With ExactResume, as by the command line: it says nothing of a step that was cut, and goes on to the end."""
    whole, cut, last = Measured(), Measured(2), Measured()
    uncut, rest = designer("surrogate", whole), designer("surrogate", last)
    run(tmp_path / "uncut", uncut, more=[ExactResume()])
    with pytest.raises(Killed):
        run(tmp_path / "cut", designer("surrogate", cut), more=[ExactResume()])
    assert newest(tmp_path / "cut").name == "start.ckpt"
    run(tmp_path / "rest", rest, newest(tmp_path / "cut"), more=[ExactResume()])
    assert Counter(cut.asked + last.asked) == Counter(whole.asked)
    assert rest.search.trajectory == uncut.search.trajectory
    assert "note: " not in "".join(capfd.readouterr())


class SavesAndStops(Callback):
    """A checkpoint after step 3, and an end after step 5."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            trainer.save_checkpoint(self.path, weights_only=False)
        trainer.should_stop |= trainer.global_step == 5


def asked_on_a_rank(folder: str, ranks: int, before: str | None) -> list[str]:
    """What this rank asks; a first run is stopped two steps after its checkpoint."""
    options: dict[str, Any] = {}
    if ranks > 1:
        rank = str(torch.distributed.get_rank())
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        os.environ |= {"NODE_RANK": "0", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # the group is there already
        options = {"strategy": "ddp", "devices": ranks}
    measured = Measured()
    callbacks = [SavesAndStops(Path(folder) / "at3.ckpt")] if before is None else []
    fitted: Trainer = trainer(Path(folder), callbacks=callbacks, **options)
    fitted.fit(designer("surrogate", measured), ckpt_path=before, weights_only=True)
    return measured.asked


@pytest.mark.parametrize(("first", "second"), [(2, 2), (2, 1), (1, 2)])
def test_ranks_recall_what_any_rank_was_told(first: int, second: int, tmp_path: Path) -> None:
    whole = Measured()
    run(tmp_path / "uncut", designer("surrogate", whole))
    asked: list[str] = []
    for number, (ranks, before) in enumerate(((first, None), (second, str(tmp_path / "0" / "at3.ckpt")))):
        given = str(tmp_path / str(number)), ranks, before
        found = run_on_ranks(asked_on_a_rank, *given, ranks=ranks) if ranks > 1 else [asked_on_a_rank(*given)]
        asked += [each for rank in found for each in rank]
    assert Counter(asked) == Counter(whole.asked)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.design.training.test_kept_answers import Measured, designer, newest, run

class Logged(Measured):
    def __call__(self, sequences):
        with open(sys.argv[1], "a") as file:
            file.write("".join(each + "\\n" for each in sequences))
        if self.calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(sequences)

before = Path(sys.argv[4]) if len(sys.argv) > 4 else None
run(Path(sys.argv[3]), designer("surrogate", Logged()), None if before is None else newest(before), every=3)
"""


@pytest.mark.slow
def test_kill_9(tmp_path: Path) -> None:
    """Only the call that was under way is made again."""

    def start(*arguments: object) -> int:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "log"), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    assert start(6, tmp_path / "first") == -9
    assert start(-1, tmp_path / "second", tmp_path / "first") == 0
    asked = Counter((tmp_path / "log").read_text().split())
    whole = Measured()
    run(tmp_path / "uncut", designer("surrogate", whole), every=3)
    assert asked.keys() == set(whole.asked)
    assert sorted(asked.values()) == [1] * 58 + [2] * 2  # 4 and 2 of the 6 of a step
