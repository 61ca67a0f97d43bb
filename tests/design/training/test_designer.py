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
from discrete_lightning.design import (
    Edit,
    FromNothing,
    Goal,
    GradientSearch,
    Maximize,
    Minimize,
    Polish,
    Search,
    Start,
    SurrogateSearch,
    Target,
)
from discrete_lightning.design.constraints import ForbiddenMotifs, MaxHomopolymer
from discrete_lightning.design.oracles import MotifScan, TFBind8, WeightedSum
from discrete_lightning.models import SequenceDesigner
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


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_low_precision_finds_the_optimum(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=search())
    trainer(tmp_path, precision=precision).fit(designer)
    assert designer.designs(1)[0].score == pytest.approx(BEST, abs=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_scores_of_a_rounded_search_are_exact_in_the_end(precision: str, tmp_path: Path) -> None:
    """Under bf16-mixed the oracle's convolution rounds; every design that is reported, on the front too, was scored anew."""
    torch.manual_seed(1)
    models = [nn.Sequential(nn.Conv1d(4, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 1)) for _ in range(3)]
    judge = models.pop()
    settings = GradientSearch(chains=8, steps=5, polish=Polish(sequences=1, calls=2))
    model = WeightedSum(models, [1.0, 1.0], names=["a", "b"])
    designer = SequenceDesigner(model, FromNothing(20), search=settings, judge=judge)
    trainer(tmp_path, precision=precision).fit(designer)
    found = designer.designs()
    front = designer.pareto_designs()
    assert len(front) > 1
    found += front
    tokens = designer.problem.alphabet.encode_all([design.sequence for design in found])
    x = designer.problem.one_hot(tokens).mT
    exact = model(x)
    for i, name in enumerate(("a", "b")):
        column = torch.tensor([design.more[name] for design in found])
        torch.testing.assert_close(column, models[i](x).squeeze(1).detach(), atol=1e-6, rtol=1e-5)
    judged = torch.tensor([design.more["judge"] for design in found])
    torch.testing.assert_close(judged, judge(x).squeeze(1).detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.tensor([design.score for design in found]), exact.detach(), atol=1e-6, rtol=1e-5)


class StopAfter(Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if int(pl_module.search.taken) == self.steps:  # type: ignore[union-attr,arg-type]
            trainer.should_stop = True


def resumable(kind: str) -> SequenceDesigner:
    torch.manual_seed(3)
    if kind == "surrogate":
        return SequenceDesigner(
            TFBind8(), FromNothing(8), search=SurrogateSearch(calls=100, batch=10, first=20), judge=TFBind8()
        )
    if kind == "exhausted":
        return SequenceDesigner(Few(), FromNothing(2), search=SurrogateSearch(calls=100, batch=4, first=4))
    oracle: nn.Module = MotifScan("JUN")
    if kind == "two oracles":
        oracle = WeightedSum([oracle, MotifScan("GATA2")], [1.0, -0.5], names=["jun", "gata2"])
    polish = Polish(restarts=2, sequences=4)
    return SequenceDesigner(
        oracle, FromNothing(24), search=GradientSearch(chains=16, steps=10, polish=polish), distance=3
    )


class Few(nn.Module):
    """16 sequences of 2 letters: nothing is left to try after all of them."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].sum(1)


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("surrogate", 6),
        ("surrogate", None),
        ("exhausted", None),
        ("one oracle", 6),
        ("one oracle", 11),
        ("one oracle", 25),
        ("one oracle", None),
        ("two oracles", 6),
        ("two oracles", 25),
    ],
)
def test_resumes_as_if_never_stopped(kind: str, step: int | None, tmp_path: Path) -> None:
    """Stopped while sampling, when the polish begins, inside it, and after the end: designs, front, calls, trajectory.csv."""
    whole, half, rest, later = (resumable(kind) for _ in range(4))
    trainer(tmp_path / "whole", callbacks=[DesignTrajectory()]).fit(whole)
    first = trainer(tmp_path, callbacks=[] if step is None else [StopAfter(step)])
    first.fit(half)
    assert half.search.done == (step is None)
    first.save_checkpoint(tmp_path / "half.ckpt")
    assert step is None or first.global_step == step
    second = trainer(tmp_path / "rest", callbacks=[DesignTrajectory()])
    second.fit(rest, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert rest.designs() == whole.designs()
    assert rest.pareto_designs() == whole.pareto_designs()
    assert bool(rest.pareto_designs()) == (kind == "two oracles")
    assert rest.problem.evaluator.count == whole.problem.evaluator.count
    assert rest.search.trajectory == whole.search.trajectory
    assert rows(tmp_path / "rest" / "trajectory.csv") == rows(tmp_path / "whole" / "trajectory.csv")
    second.save_checkpoint(tmp_path / "rest.ckpt")
    callback = DesignWriter()
    run = trainer(tmp_path / "later", callbacks=[callback])
    run.predict(later, ckpt_path=tmp_path / "rest.ckpt", weights_only=True)
    assert later.designs() == whole.designs()
    assert (tmp_path / "later" / "pareto.csv").exists() == (kind == "two oracles")


def test_a_moved_search_takes_its_polish_along() -> None:
    designer = resumable("one oracle")
    designer.search.run(until=lambda now: now.step == 13)
    count = designer.problem.evaluator.count
    designer.bfloat16()  # keeps what is exact
    designer.search.polisher.restore(designer.search.polisher.state())  # type: ignore[union-attr,operator]
    designer.search.run()
    assert designer.problem.evaluator.count > count


@pytest.mark.parametrize(("goal", "expected"), [(Maximize(), (1.0, -1.0)), (Minimize(), (-1.0, 1.0))])
def test_the_best_of_a_column_is_in_the_wanted_direction(
    goal: Goal, expected: tuple[float, float], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    oracle = WeightedSum([MotifScan("GATA2"), MotifScan("JUN")], [1.0, -0.5], names=["gata2", "jun"])
    settings = GradientSearch(chains=8, steps=5, polish=Polish(sequences=2, calls=50))
    designer = SequenceDesigner(oracle, FromNothing(25), goal=goal, search=settings, judge=MotifScan("TBP"))
    run = trainer(tmp_path)
    run.fit(designer)
    (metrics,) = run.test(designer, verbose=False)
    for name, sign in (("gata2", expected[0]), ("jun", expected[1]), ("judge", expected[0])):
        column = [sign * design.more[name] for design in designer.designs()]
        assert metrics[f"test/{name}_best"] == pytest.approx(sign * max(column))


class Ignorant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), torch.nan)


def test_a_judge_may_know_nothing_but_must_have_the_shape(tmp_path: Path) -> None:
    settings = GradientSearch(chains=4, steps=2, polish=Polish(sequences=1, calls=5))
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=settings, judge=Ignorant())
    run = trainer(tmp_path)
    run.fit(designer)
    (metrics,) = run.test(designer, verbose=False)
    assert "test/best_score" in metrics
    assert not any("judge" in name for name in metrics)
    two = nn.Sequential(nn.Flatten(), nn.Linear(32, 2))
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=GradientSearch(4, 2, polish=Polish(1, 1)), judge=two)
    designer.search.run()
    with pytest.raises(ValueError, match=r"oracle Sequential must return one score a sequence.*shape \(\d+, 2\)"):
        designer.designs()


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


def test_the_oracle_is_called_in_batches_of_the_given_size() -> None:
    sizes: list[int] = []
    oracle = MotifScan("JUN")
    oracle.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    designer = SequenceDesigner(oracle, FromNothing(20), search=GradientSearch(10, 2), oracle_batch=4)
    designer.search.step(lambda loss: None)
    assert sizes == [4, 4, 2]


def test_temperature_is_annealed(tmp_path: Path) -> None:
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=search())
    trainer(tmp_path, callbacks=[TemperatureAnnealing(Exponential(1.0, rate=0.1, minimum=0.5))]).fit(designer)
    assert float(designer.search.relaxed.temperature()) == pytest.approx(0.5)  # type: ignore[union-attr,operator]


def fit_on_ranks(folder: str, ranks: int) -> dict[str, Any]:
    """Designs and oracle calls of four kinds of search, on this rank as torchrun would start it."""
    if ranks > 1:
        rank = str(torch.distributed.get_rank())
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        os.environ |= {"NODE_RANK": "0", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # the group is there already
    small = GradientSearch(chains=5, steps=4, learning_rate=1.0, polish=Polish(proposals=3, patience=1, sequences=3))
    two = WeightedSum([TFBind8(), MotifScan("GATA2")], [1.0, -0.1], names=["tf", "gata2"])
    kinds: dict[str, tuple[nn.Module, Search, Start]] = {
        "nothing": (TFBind8(), small, FromNothing(8)),
        "edit": (
            TFBind8(),
            GradientSearch(chains=3, steps=3, polish=Polish(sequences=1, restarts=2, calls=40)),
            Edit("ACGTACGT", 0.01),
        ),
        "surrogate": (TFBind8(), SurrogateSearch(calls=35, batch=7, first=14), FromNothing(8)),
        "two": (two, GradientSearch(chains=3, steps=3, polish=Polish(sequences=1, calls=10)), FromNothing(8)),
    }
    found = {}
    for kind, (oracle, made, start) in kinds.items():
        torch.manual_seed(7)
        designer = SequenceDesigner(oracle, start, search=made, constraints=[MaxHomopolymer(3)])
        torch.manual_seed(100 + distributed.rank())  # ranks that were seeded apart
        options = {"strategy": "ddp", "devices": ranks} if ranks > 1 else {}
        trainer(Path(folder), callbacks=[DesignWriter(kind)], **options).fit(designer)
        designs = [  # a convolution's last bit depends on the size of the batch
            (design.sequence, round(design.score, 5), design.calls)
            for design in designer.designs() + designer.pareto_designs()
        ]
        found[kind] = (designs, designer.problem.evaluator.count)
    return found


def test_two_ranks_find_what_one_process_finds(tmp_path: Path) -> None:
    alone, ranks = tmp_path / "alone", tmp_path / "ranks"
    expected = fit_on_ranks(str(alone), 1)
    assert run_on_ranks(fit_on_ranks, str(ranks), 2) == [expected, expected]
    files = {path.name: path.read_text() for path in ranks.iterdir() if path.is_file()}
    written = {f"{kind}.{end}" for kind in expected for end in ("csv", "fasta")}
    assert set(files) == written | {"pareto.csv"}  # one merged report
    assert all((alone / name).read_text() == text for name, text in files.items())
