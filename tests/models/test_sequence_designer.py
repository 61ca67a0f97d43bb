"""SequenceDesigner under Lightning: what is written, at the end and when cut short; several ranks; low precision."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning import distributed
from discrete_lightning.callbacks import DesignTrajectory, DesignWriter, SequenceLogo, TemperatureAnnealing
from discrete_lightning.constraints import ForbiddenMotifs, MaxHomopolymer
from discrete_lightning.design import Edit, FromNothing, GradientSearch, Polish, Search, Start, SurrogateSearch
from discrete_lightning.models import SequenceDesigner
from discrete_lightning.oracles import MotifScan, TFBind8, WeightedSum
from discrete_lightning.schedules import Exponential
from tests.ranks import run_on_ranks

BEST = float(TFBind8().table.max())


def search() -> GradientSearch:
    return GradientSearch(chains=32, steps=10, learning_rate=1.0, polish=Polish(proposals=8, patience=2, sequences=32))


def trainer(folder: Path, **options: Any) -> Trainer:
    settings: dict[str, Any] = {"max_epochs": -1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    settings |= {"enable_checkpointing": False, "enable_model_summary": False, "default_root_dir": str(folder)}
    return Trainer(**settings | options)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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
    settings = GradientSearch(chains=16, steps=10, polish=Polish(shakes=100))
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
    front = [(design.more["gata2"], -design.more["jun"]) for design in designer.pareto_front()]
    assert len(front) == len(rows(tmp_path / "pareto.csv")) > 1
    assert not any(a[0] >= b[0] and a[1] >= b[1] and a != b for a in front for b in front)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_low_precision_finds_the_optimum(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=search())
    trainer(tmp_path, precision=precision).fit(designer)
    assert designer.designs(1)[0].score == pytest.approx(BEST, abs=1e-6)


def test_scores_of_a_rounded_search_are_exact_in_the_end(tmp_path: Path) -> None:
    """Under bf16-mixed the oracle's convolution rounds; every design that is reported was scored anew without."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv1d(4, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 1))
    settings = GradientSearch(chains=8, steps=5, polish=Polish(sequences=2, calls=50))
    designer = SequenceDesigner(model, FromNothing(20), search=settings)
    trainer(tmp_path, precision="bf16-mixed").fit(designer)
    found = designer.designs()
    tokens = designer.problem.alphabet.encode_all([design.sequence for design in found])
    exact = model(designer.problem.one_hot(tokens).mT).squeeze(1)
    torch.testing.assert_close(torch.tensor([design.score for design in found]), exact.detach(), atol=1e-6, rtol=1e-5)


class StopAfter(Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if int(pl_module.search.taken) == self.steps:  # type: ignore[union-attr,arg-type]
            trainer.should_stop = True


@pytest.mark.parametrize("make", [search, lambda: SurrogateSearch(calls=100, batch=10, first=20)])
def test_resumes_as_if_never_stopped(make: Any, tmp_path: Path) -> None:
    def designer() -> SequenceDesigner:
        torch.manual_seed(3)
        return SequenceDesigner(TFBind8(), FromNothing(8), search=make())

    whole, half, rest = designer(), designer(), designer()
    trainer(tmp_path).fit(whole)
    first = trainer(tmp_path, callbacks=[StopAfter(6)])
    first.fit(half)
    first.save_checkpoint(tmp_path / "half.ckpt")
    assert first.global_step == 6
    trainer(tmp_path).fit(rest, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert rest.designs() == whole.designs()
    assert rest.problem.evaluator.count == whole.problem.evaluator.count


def test_temperature_is_annealed(tmp_path: Path) -> None:
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=search())
    trainer(tmp_path, callbacks=[TemperatureAnnealing(Exponential(1.0, rate=0.1, minimum=0.5))]).fit(designer)
    assert float(designer.search.relaxed.temperature()) == pytest.approx(0.5)  # type: ignore[union-attr,operator]


def fit_on_ranks(folder: str, ranks: int) -> dict[str, Any]:
    """Designs and oracle calls of three kinds of search, on this rank as torchrun would start it."""
    if ranks > 1:
        rank = str(torch.distributed.get_rank())
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        os.environ |= {"NODE_RANK": "0", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # the group is there already
    small = GradientSearch(chains=5, steps=4, learning_rate=1.0, polish=Polish(proposals=3, patience=1, sequences=3))
    kinds: dict[str, tuple[Search, Start]] = {
        "nothing": (small, FromNothing(8)),
        "edit": (
            GradientSearch(chains=3, steps=3, polish=Polish(sequences=1, shakes=2, calls=40)),
            Edit("ACGTACGT", 0.01),
        ),
        "surrogate": (SurrogateSearch(calls=35, batch=7, first=14), FromNothing(8)),
    }
    found = {}
    for kind, (made, start) in kinds.items():
        torch.manual_seed(7)
        designer = SequenceDesigner(TFBind8(), start, search=made, constraints=[MaxHomopolymer(3)])
        torch.manual_seed(100 + distributed.rank())  # ranks that were seeded apart
        options = {"strategy": "ddp", "devices": ranks} if ranks > 1 else {}
        trainer(Path(folder), callbacks=[DesignWriter(kind)], **options).fit(designer)
        designs = [(design.sequence, design.score, design.calls) for design in designer.designs()]
        found[kind] = (designs, designer.problem.evaluator.count)
    return found


def test_two_ranks_find_what_one_process_finds(tmp_path: Path) -> None:
    alone, ranks = tmp_path / "alone", tmp_path / "ranks"
    expected = fit_on_ranks(str(alone), 1)
    assert run_on_ranks(fit_on_ranks, str(ranks), 2) == [expected, expected]
    files = {path.name: path.read_text() for path in ranks.iterdir() if path.is_file()}
    assert set(files) == {f"{kind}.{end}" for kind in expected for end in ("csv", "fasta")}  # one merged report
    assert all((alone / name).read_text() == text for name, text in files.items())
