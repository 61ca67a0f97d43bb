"""A user's oracle is unchanged after a search, and its methods with similar names are not called."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn

from discrete_lightning.callbacks import DesignTrajectory, DesignWriter, SequenceLogo
from discrete_lightning.design import Design, DesignProblem, FromNothing, GradientSearch, Polish
from discrete_lightning.design.constraints import MaxHomopolymer
from discrete_lightning.models import SequenceDesigner
from tests.design.runs import rows, trainer
from tests.tables.holder import hooks


def quick() -> GradientSearch:
    return GradientSearch(chains=4, steps=2, polish=Polish(sequences=1, calls=5))


class Net(nn.Module):
    """In train() with a part in eval(), one frozen layer and one that is not; its own `prepare`, `letters` and `count`."""

    letters = "not an alphabet"

    def __init__(self, fails_after: int = 10**9) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(4, 3, 3), nn.Linear(3, 1)
        self.first.requires_grad_(False)
        self.first.eval()
        self.count, self.prepared, self.left = "none", 0, fails_after

    def prepare(self, data: object) -> None:
        raise AssertionError("this method is not for us")

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not any(parameter.requires_grad for parameter in self.parameters())
        self.left -= len(x)
        return self.last(self.first(x).mean(-1)) * (1.0 if self.left >= 0 else torch.nan)


class Prepared(Net):
    def prepare_oracle(self) -> None:
        self.prepared += 1


def state_of(module: nn.Module) -> list[Any]:
    return [[part.training for part in module.modules()], [each.requires_grad for each in module.parameters()]]


def test_an_oracle_comes_back_as_it_went_in(tmp_path: Path) -> None:
    oracle, judge = Net(), Net()
    before = state_of(oracle)
    search = quick().begin(DesignProblem(oracle, FromNothing(10)), seed=0)
    assert state_of(oracle) == before
    search.run()
    assert state_of(oracle) == before
    designer = SequenceDesigner(oracle, FromNothing(10), search=quick(), judge=judge)
    run = trainer(tmp_path)
    run.fit(designer)
    run.test(designer, verbose=False)
    run.predict(designer)
    assert designer.designs()
    assert state_of(oracle) == state_of(judge) == before
    assert all(parameter.grad is None for parameter in oracle.parameters())


def test_it_does_so_after_an_error(tmp_path: Path) -> None:
    oracle = Net(fails_after=6)
    before = state_of(oracle)
    with pytest.raises(ValueError, match="Net returned NaN"):
        trainer(tmp_path).fit(SequenceDesigner(oracle, FromNothing(10), search=quick()))
    assert state_of(oracle) == before


class Stopped(Exception):
    """Raised in the middle of a run."""


class StopsAt(Callback):
    """Raises in one of the trainer's hooks."""

    def __init__(self, hook: str, error: type[BaseException]) -> None:
        def stop(*_: Any, **__: Any) -> None:
            raise error

        setattr(self, hook, stop)


HOOKS = [
    "setup",
    "on_fit_start",
    "on_train_start",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_train_end",
    "on_fit_end",
]


@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
@pytest.mark.parametrize("hook", [*HOOKS, "on_test_start", "on_predict_batch_start"])
def test_an_oracle_comes_back_however_a_run_stops(tmp_path: Path, hook: str, error: type[BaseException]) -> None:
    """Modes, flags, hooks and buffers, of an oracle with running statistics."""
    oracle, judge = nn.Sequential(nn.BatchNorm1d(4), Net()), Net()
    oracle[0].eval()
    before = [state_of(each) for each in (oracle, judge)]
    buffers = {name: each.clone() for name, each in oracle.named_buffers()}
    attached = hooks(oracle)
    designer = SequenceDesigner(oracle, FromNothing(10), search=quick(), judge=judge)
    run = trainer(tmp_path, callbacks=[StopsAt(hook, error)])
    start = run.test if "test" in hook else run.predict if "predict" in hook else run.fit
    with pytest.raises((Stopped, KeyboardInterrupt, SystemExit)):
        start(designer)
    assert [state_of(each) for each in (oracle, judge)] == before
    assert hooks(oracle) == attached
    assert all(torch.equal(each, buffers[name]) for name, each in oracle.named_buffers())
    trainer(tmp_path).fit(designer)  # and the next run is not disturbed
    assert [state_of(each) for each in (oracle, judge)] == before


def test_an_oracle_comes_back_where_another_cannot_be_prepared(tmp_path: Path) -> None:
    class Fails(Prepared):
        def prepare_oracle(self) -> None:
            raise Stopped

    oracle, judge = Prepared(), Fails()
    before = state_of(oracle)
    with pytest.raises(Stopped):
        trainer(tmp_path).fit(SequenceDesigner(oracle, FromNothing(10), search=quick(), judge=judge))
    assert state_of(oracle) == before


def test_an_oracle_is_prepared_once_and_only_if_it_says_so(tmp_path: Path) -> None:
    oracle = Prepared()
    designer = SequenceDesigner(oracle, FromNothing(10), search=quick())
    assert not oracle.prepared
    for _ in range(2):
        trainer(tmp_path).fit(designer)
    assert oracle.prepared == 1


class ReadsGivenLetters(nn.Module):
    channel_letters = "TGCA"

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].sum(1)


def test_channels_of_other_letters_are_refused() -> None:
    with pytest.raises(ValueError, match="reads the letters TGCA, in this order, and the alphabet is ACGT"):
        DesignProblem(nn.Sequential(ReadsGivenLetters()), FromNothing(5))
    DesignProblem(ReadsGivenLetters(), FromNothing(5), "UGCA")


class Own(LightningModule):
    """Has `designs`, and by coincidence what SequenceDesigner has, too."""

    count, distance, problem, search = "many", None, "regression", nn.Identity()

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def pareto_front(self, values: Tensor) -> Tensor:
        raise AssertionError("this method is not for us")

    def designs(self) -> list[Design]:
        return [Design("ACGT", 1.0, -1.0, 0, 1, {}), Design("ACGA", 0.5, -0.5, 0, 2, {})]

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.layer(batch)


def test_a_module_of_ones_own_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("logomaker")
    run = trainer(tmp_path, callbacks=[DesignWriter(), SequenceLogo()])
    run.predict(Own(), torch.utils.data.DataLoader(torch.zeros(1, 1)))
    assert [row["sequence"] for row in rows(tmp_path / "designs.csv")] == ["ACGT", "ACGA"]
    assert "2 designs, the best is ACGT" in capsys.readouterr().out
    assert (tmp_path / "logo.png").exists()
    assert not (tmp_path / "pareto.csv").exists()


class WithoutDesigns(Own):
    designs = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("callback", "module", "method"),
    [
        (DesignWriter(), WithoutDesigns, "designs() -> list of design.Design"),
        (SequenceLogo(), WithoutDesigns, "designs() -> list of design.Design"),
        (DesignTrajectory(), Own, "search_trajectory() -> list of design.Progress"),
    ],
    ids=["writer", "logo", "trajectory"],
)
def test_a_module_without_the_method_gets_one_clear_error(callback: Any, module: Any, method: str) -> None:
    with pytest.raises(TypeError) as error:
        callback.setup(None, module(), "fit")
    assert str(error.value) == (
        f"{type(callback).__name__} needs a method {method}, which {module.__name__} does not have; define it or leave the "
        "callback out"
    )


def test_a_search_given_to_two_designers() -> None:
    settings = quick()
    first = SequenceDesigner(Net(), FromNothing(10), search=settings)
    second = SequenceDesigner(Net(), FromNothing(20), search=settings, constraints=[MaxHomopolymer(3)])
    assert (first.problem.length, second.problem.length) == (10, 20)
    assert first.search is not second.search
    first.search.run()
    assert {len(design.sequence) for design in first.designs()} == {10}
    for ask in (settings.run, settings.progress, settings.pareto_designs, lambda: settings.designs(1)):
        with pytest.raises(RuntimeError, match=r"this GradientSearch has no problem yet.*designer\.search"):
            ask()


def test_a_search_has_one_problem() -> None:
    problem = DesignProblem(Net(), FromNothing(10))
    search = quick().begin(problem, seed=0)
    with pytest.raises(RuntimeError, match="already searches a problem"):
        search.begin(problem)
