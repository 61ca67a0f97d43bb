"""What the callbacks write: at the end, after an interruption, for several oracles, a target, edits, few designs."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.callbacks import DesignTrajectory, DesignWriter, SequenceLogo
from discrete_lightning.cli import main
from discrete_lightning.design import (
    Edit,
    FromNothing,
    GradientSearch,
    Polish,
    Target,
)
from discrete_lightning.design.constraints import ForbiddenMotifs, MaxHomopolymer
from discrete_lightning.design.oracles import MotifScan, TFBind8, WeightedSum
from discrete_lightning.models import SequenceDesigner
from tests.design.runs import rows, search, trainer


def test_writes_designs_logo_and_trajectory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rules = [MaxHomopolymer(2), ForbiddenMotifs(["GATAC"]), ForbiddenMotifs(["AAA"])]
    designer = SequenceDesigner(TFBind8(), FromNothing(8), constraints=rules, search=search(), designs=15, distance=2)
    fit = trainer(tmp_path, callbacks=[DesignWriter(), SequenceLogo(), DesignTrajectory()])
    fit.fit(designer)
    table = rows(tmp_path / "designs.csv")
    assert len(table) == 15
    for row, design in zip(table, designer.designs(), strict=True):
        assert row["sequence"] == design.sequence
        assert (row["MaxHomopolymer"], row["ForbiddenMotifs_1"], row["ForbiddenMotifs_2"]) == ("passed",) * 3
        x = torch.nn.functional.one_hot(torch.tensor(["ACGT".index(a) for a in row["sequence"]]), 4).T.float()
        assert float(row["score"]) == pytest.approx(float(TFBind8()(x)), abs=1e-5)
        assert 0 < int(row["oracle_calls"]) <= designer.problem.evaluator.count
    fasta = (tmp_path / "designs.fasta").read_text().splitlines()
    assert fasta[1::2] == [row["sequence"] for row in table]
    assert fasta[0].startswith(">designs_1 score=")
    assert (tmp_path / "logo.png").stat().st_size > 1000
    assert (tmp_path / "trajectory.png").stat().st_size > 1000
    best = [float(row["score"]) for row in rows(tmp_path / "trajectory.csv")]
    assert best == sorted(best)
    assert best[-1] == pytest.approx(float(table[0]["score"]), abs=1e-5)
    (metrics,) = fit.test(designer, verbose=False)
    assert metrics["test/oracle_calls"] == designer.problem.evaluator.count
    assert metrics["test/best_score"] == pytest.approx(best[-1], abs=1e-5)
    fit.fit_loop.epoch_progress.reset()
    trainer(tmp_path, callbacks=[DesignWriter()]).predict(designer)
    assert (tmp_path / "designs.csv").exists()
    assert rows(tmp_path / "designs-2.csv") == table  # nothing is overwritten


class Failing(nn.Module):
    """Scores by a motif until `after` sequences, then NaN, or Ctrl-C."""

    def __init__(self, after: int, interrupt: bool) -> None:
        super().__init__()
        self.scan, self.left, self.interrupt = MotifScan("JUN"), after, interrupt

    def forward(self, x: Tensor) -> Tensor:
        self.left -= len(x)
        if self.left < 0 and self.interrupt:
            raise KeyboardInterrupt
        return self.scan(x) if self.left >= 0 else self.scan(x) * torch.nan


@pytest.mark.parametrize("after", [60, 400])
@pytest.mark.parametrize("interrupt", [False, True])
def test_what_was_found_is_kept(after: int, interrupt: bool, tmp_path: Path) -> None:
    """60 is in the relaxed phase of 16 x 10, 400 in the polish."""
    torch.manual_seed(0)
    settings = GradientSearch(chains=16, steps=10, polish=Polish(restarts=100))
    designer = SequenceDesigner(Failing(after, interrupt), FromNothing(30), search=settings)
    run = trainer(tmp_path, callbacks=[DesignWriter(), DesignTrajectory()])
    if interrupt:
        with pytest.raises(SystemExit):
            run.fit(designer)
    else:
        with pytest.raises(ValueError, match=r"Failing returned NaN for \d+ of \d+ sequences, after \d+ evaluations"):
            run.fit(designer)
    table = rows(tmp_path / "designs.csv")
    scan = MotifScan("JUN")
    tokens = designer.problem.alphabet.encode_all([row["sequence"] for row in table])
    expected = scan(designer.problem.one_hot(tokens).mT)
    torch.testing.assert_close(torch.tensor([float(row["score"]) for row in table]), expected, atol=1e-4, rtol=1e-4)
    assert rows(tmp_path / "trajectory.csv")


def test_two_oracles_have_columns_and_a_front(tmp_path: Path) -> None:
    torch.manual_seed(0)
    oracle = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], [1.0, -0.5], names=["gata2", "jun"])
    settings = GradientSearch(chains=16, steps=10, polish=Polish(sequences=4, calls=200))
    designer = SequenceDesigner(oracle, FromNothing(25), search=settings, designs=5, judge=MotifScan("TBP"))
    trainer(tmp_path, callbacks=[DesignWriter()]).fit(designer)
    for row in rows(tmp_path / "designs.csv"):
        assert float(row["score"]) == pytest.approx(float(row["gata2"]) - 0.5 * float(row["jun"]), abs=1e-3)
        x = designer.problem.one_hot(designer.problem.alphabet.encode(row["sequence"]))[None].mT
        assert float(row["judge"]) == pytest.approx(float(MotifScan("TBP")(x)), abs=1e-3)
    front = [(design.more["gata2"], -design.more["jun"]) for design in designer.pareto_designs()]
    table = rows(tmp_path / "pareto.csv")
    assert len(front) == len(table) > 1
    assert [row["name"] for row in table] == [f"pareto_{i}" for i in range(1, len(table) + 1)]
    assert all(0 < int(row["oracle_calls"]) <= designer.problem.evaluator.count for row in table)
    assert not any(a[0] >= b[0] and a[1] >= b[1] and a != b for a in front for b in front)


def test_says_when_there_are_fewer_designs_than_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = GradientSearch(chains=4, steps=5, polish=Polish(sequences=1, calls=20))
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=settings, designs=20, distance=7)
    trainer(tmp_path, callbacks=[DesignWriter()]).fit(designer)
    count = len(rows(tmp_path / "designs.csv"))
    assert 0 < count < 20
    assert f"{count} of 20 designs (no others were found that differ in 7 letters)" in capsys.readouterr().out


def test_a_target_has_no_front_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    oracle = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], [1.0, -0.5], names=["gata2", "jun"])
    settings = GradientSearch(chains=4, steps=3, polish=Polish(sequences=1, calls=10))
    designer = SequenceDesigner(oracle, FromNothing(25), goal=Target(3.0), search=settings)
    trainer(tmp_path, callbacks=[DesignWriter()]).fit(designer)
    assert not (tmp_path / "pareto.csv").exists()
    assert {"gata2", "jun"} < set(rows(tmp_path / "designs.csv")[0])
    assert "no pareto.csv: Target(value=3.0) of a WeightedSum has no Pareto front" in capsys.readouterr().out


def test_edits_have_a_column_of_changes(tmp_path: Path) -> None:
    settings = GradientSearch(chains=4, steps=5, polish=Polish(sequences=1, calls=30))
    designer = SequenceDesigner(TFBind8(), Edit("ACGTACGT", 0.001), search=settings)
    trainer(tmp_path, callbacks=[DesignWriter()]).fit(designer)
    table = rows(tmp_path / "designs.csv")
    assert [row["changes"] for row in table] == [design.changes for design in designer.designs()]
    assert all(len(list(filter(None, row["changes"].split(";")))) == int(row["edits"]) for row in table)


def test_insertions_and_diverse_designs_in_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The changes of every design make it of the template again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "indels.yaml").write_text(
        "seed_everything: 1\nmodel:\n  class_path: SequenceDesigner\n  init_args:\n"
        "    oracle: {class_path: discrete_lightning.oracles.MotifScan, init_args: {motif: GATA2}}\n"
        "    start:\n      class_path: Edit\n"
        "      init_args: {sequence: CCGTGACTAAGGCTACCGTT, edit_weight: 0.2, editable: [[4, 16]], indels: 2, flank: ACGT}\n"
        "    search: {class_path: GradientSearch, init_args: {chains: 2, steps: 5, polish: {calls: 200}}}\n"
        "    designs: 10\n    diverse: true\n"
        "trainer: {max_epochs: -1, accelerator: cpu, callbacks: [DesignWriter, SequenceLogo]}\n"
    )
    assert main(["fit", "-c", "indels.yaml"]) == 0
    (path,) = tmp_path.glob("runs/*/*/designs.csv")
    table = rows(path)
    start = Edit("CCGTGACTAAGGCTACCGTT", indels=2, flank="ACGT")
    assert [start.apply(row["changes"]) for row in table] == [row["sequence"] for row in table]
    assert {row["KeptLetters"] for row in table} == {"passed"}
    assert any("del" in row["changes"] or "ins" in row["changes"] for row in table)
    sequences = [row["sequence"] for row in table]
    assert min(sum(a != b for a, b in zip(x, y, strict=True)) for x, y in combinations(sequences, 2)) > 1
