"""A search that is stopped anywhere and resumed equals one that was not stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.callbacks import DesignTrajectory, DesignWriter
from discrete_lightning.design import (
    Edit,
    FromNothing,
    GradientSearch,
    MetropolisSearch,
    ParetoSearch,
    Polish,
    SurrogateSearch,
)
from discrete_lightning.design.oracles import MotifScan, TFBind8, WeightedSum
from discrete_lightning.models import SequenceDesigner
from tests.design.runs import rows, trainer


class StopAfter(Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if pl_module.search.taken == self.steps:  # type: ignore[union-attr,arg-type]
            trainer.should_stop = True


class Few(nn.Module):
    """16 sequences of 2 letters: nothing is left to try after all of them."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].sum(1)


def resumable(kind: str) -> SequenceDesigner:
    torch.manual_seed(3)
    if kind == "surrogate":
        return SequenceDesigner(
            TFBind8(), FromNothing(8), search=SurrogateSearch(calls=100, batch=10, first=20), judge=TFBind8()
        )
    if kind == "exhausted":
        return SequenceDesigner(Few(), FromNothing(2), search=SurrogateSearch(calls=100, batch=4, first=4))
    if kind == "chains":
        moves = MetropolisSearch(calls=300, chains=10, temperature=0.5, thin=2)
        return SequenceDesigner(MotifScan("JUN"), FromNothing(24), search=moves, distance=3)
    oracle: nn.Module = MotifScan("JUN")
    if kind == "insertions":
        return SequenceDesigner(
            oracle,
            Edit("ACGTTGCAATCGGCTATTCAGGAT", 0.1, editable=[[2, 20]], indels=3, flank="TTA"),
            search=GradientSearch(chains=4, steps=10, polish=Polish(restarts=2, sequences=2, calls=100)),
            diverse=True,
        )
    if kind == "planned":
        return SequenceDesigner(oracle, FromNothing(24), search=GradientSearch(calls=150))
    if kind == "planned edits":
        start = Edit("ACGTTGCAATCGGCTATTCAGGAT", 0.1)
        return SequenceDesigner(oracle, start, search=GradientSearch(calls=220))
    if kind in ("two oracles", "front"):
        oracle = WeightedSum([oracle, MotifScan("GATA2")], [1.0, -0.5], names=["jun", "gata2"])
    if kind == "front":
        return SequenceDesigner(oracle, FromNothing(24), search=ParetoSearch(calls=300), distance=3)
    polish = Polish(restarts=2, sequences=4)
    return SequenceDesigner(
        oracle, FromNothing(24), search=GradientSearch(chains=16, steps=10, polish=polish), distance=3
    )


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
        ("planned", 20),  # among the steps of the chain
        ("planned", 50),  # in the polish
        ("planned", None),
        ("planned edits", 4),  # in the local search of the template
        ("planned edits", 40),  # among the steps of the chain
        ("planned edits", 90),  # in the polish
        ("chains", 4),
        ("chains", None),
        ("front", 6),
        ("front", 20),
        ("front", None),
        ("insertions", 6),
        ("insertions", 14),
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
    assert bool(rest.pareto_designs()) == (kind in ("two oracles", "front"))
    assert rest.problem.evaluator.count == whole.problem.evaluator.count
    assert rest.search.trajectory == whole.search.trajectory
    assert rows(tmp_path / "rest" / "trajectory.csv") == rows(tmp_path / "whole" / "trajectory.csv")
    second.save_checkpoint(tmp_path / "rest.ckpt")
    callback = DesignWriter()
    run = trainer(tmp_path / "later", callbacks=[callback])
    run.predict(later, ckpt_path=tmp_path / "rest.ckpt", weights_only=True)
    assert later.designs() == whole.designs()
    assert (tmp_path / "later" / "pareto.csv").exists() == (kind in ("two oracles", "front"))


def test_a_moved_search_takes_its_polish_along() -> None:
    designer = resumable("one oracle")
    designer.search.run(until=lambda now: now.step == 13)
    count = designer.problem.evaluator.count
    designer.bfloat16()  # keeps what is exact
    designer.search.polisher.restore(designer.search.polisher.state())  # type: ignore[union-attr,operator]
    designer.search.run()
    assert designer.problem.evaluator.count > count
