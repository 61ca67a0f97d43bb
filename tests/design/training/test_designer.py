"""SequenceDesigner under Lightning: low precision, metrics, a judge, batches, annealing."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.callbacks import TemperatureAnnealing
from discrete_lightning.design import (
    FromNothing,
    Goal,
    GradientSearch,
    Maximize,
    Minimize,
    Polish,
)
from discrete_lightning.design.oracles import MotifScan, TFBind8, WeightedSum
from discrete_lightning.models import SequenceDesigner
from discrete_lightning.schedules import Exponential
from tests.design.runs import BEST, search, trainer


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_low_precision_finds_the_optimum(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    designer = SequenceDesigner(TFBind8(), FromNothing(8), search=search())
    trainer(tmp_path, precision=precision).fit(designer)
    assert designer.designs(1)[0].score == pytest.approx(BEST, abs=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_scores_of_a_rounded_search_are_exact_in_the_end(precision: str, tmp_path: Path) -> None:
    """Under bf16-mixed the oracle's convolution rounds; every design that is reported, on the front too, was scored again."""
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
