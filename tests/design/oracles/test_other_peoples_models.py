"""Sequence models as libraries hand them out: several outputs in tuples, dicts and columns, plain functions, methods."""

from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.design import DesignProblem, Edit, Evaluator, FromNothing, GradientSearch, Polish
from discrete_lightning.design.oracles import BlackBox, Ensemble, FunctionOracle, OneOutput, WeightedSum
from discrete_lightning.design.training import SequenceDesigner
from tests.design.runs import trainer

Outputs = namedtuple("Outputs", ["profile", "counts"])


@dataclass
class Fields:
    profile: Tensor
    counts: Tensor


class Net(nn.Module):
    """Profiles (batch, 3, length) and counts (batch, 3); its dropout shows whether it is in eval()."""

    def __init__(self, form: Any = lambda profile, counts: counts[:, 0]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.form = nn.Sequential(nn.Conv1d(4, 3, 5, padding=2), nn.Dropout(0.5)), form

    def forward(self, x: Tensor) -> Any:
        profile = self.body(x)
        return self.form(profile, profile.mean(-1))

    def predict(self, x: Tensor) -> Tensor:
        return self.body(x).mean((1, 2))


class Wrapper:
    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net(x)


def x(count: int = 5) -> Tensor:
    tokens = torch.randint(4, (count, 20), generator=torch.Generator().manual_seed(0))
    return nn.functional.one_hot(tokens, 4).float()


EXPECTED = Net().eval()


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (lambda profile, counts: counts[:, 0], None),
        (lambda profile, counts: counts[:, :1], None),
        (lambda profile, counts: counts, 0),
        (lambda profile, counts: counts, -3),
        (lambda profile, counts: (profile, counts[:, :1]), 1),
        (lambda profile, counts: [profile, counts[:, 0]], 1),
        (lambda profile, counts: (profile, counts), [1, 0]),
        (lambda profile, counts: {"profile": profile, "counts": counts[:, 0]}, "counts"),
        (lambda profile, counts: {"heads": (profile, {"counts": counts})}, ["heads", 1, "counts", 0]),
        (lambda profile, counts: {0: counts[:, 0]}, 0),
        (lambda profile, counts: Outputs(profile, counts[:, 0]), "counts"),
        (lambda profile, counts: Outputs(profile, counts[:, 0]), 1),
        (lambda profile, counts: Fields(profile, counts[:, 0]), "counts"),
    ],
)
def test_one_output_of_any_kind(form: Any, output: Any) -> None:
    problem = DesignProblem(Net(form), FromNothing(20), output=output)
    expected = EXPECTED(x().mT).detach()
    torch.testing.assert_close(problem.evaluator.score(x()), expected)
    leaf = x().requires_grad_()
    problem.evaluator(leaf).scores.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.any()
    if output is not None:
        one = OneOutput(Net(form), output)
        torch.testing.assert_close(Evaluator(Ensemble([one, Net()], 0.0)).score(x()), expected)
        torch.testing.assert_close(Evaluator(WeightedSum([one], [2.0])).score(x()), 2 * expected)


@pytest.mark.parametrize(
    ("form", "output", "words"),
    [
        (lambda p, c: c, None, r"the oracle Net must .* shape \(5, 3\): choose one of several by output=INDEX"),
        (lambda p, c: (p, c), None, r"a tuple of shape \(5, 3, 20\), shape \(5, 3\): choose one .*OneOutput\(oracle, INDEX"),
        (lambda p, c: {"counts": c}, None, r"a dict of 'counts': shape \(5, 3\): choose one .* output=INDEX or NAME"),
        (lambda p, c: (p, c), 1, r"the oracle Net, output 1, must .* shape \(5, 3\): choose .* output=\[1, INDEX"),
        (lambda p, c: (p, c), 0, r"shape \(5, 3, 20\): make one score of each sequence in a function, such as lambda"),
        (lambda p, c: c.mean(), None, r"returned shape \(\): make one score of each sequence in a function"),
        (lambda p, c: c.tolist(), None, "got a list of 5: make one score"),
        (lambda p, c: (p, c), 2, r"there is no output 2 in what Net returned, a tuple of shape \(5, 3, 20\), shape \(5, 3\)"),
        (lambda p, c: (p, c), "counts", "there is no output 'counts' in what Net returned, a tuple"),
        (lambda p, c: {"a": c}, "counts", r"there is no output 'counts' in what Net returned, a dict of 'a': shape \(5, 3\)"),
        (lambda p, c: c, 3, r"there is no output 3 in what Net returned, shape \(5, 3\)"),
        (lambda p, c: c, "mean", "there is no output 'mean' in what Net returned"),
    ],
)  # fmt: skip
def test_what_is_no_score_is_refused_with_the_cure(form: Any, output: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        DesignProblem(Net(form), FromNothing(20), output=output).evaluator.score(x())
    assert "\n" not in str(error.value)


def functions(net: Net) -> dict[str, Any]:
    return {
        "score": lambda x: net(x),
        "predict": net.predict,
        "partial": partial(lambda model, x: model(x), net),
        "Wrapper": Wrapper(net),
        "of an object": Wrapper(net).__call__,
    }


@pytest.mark.parametrize("name", functions(Net()))
def test_a_function_is_an_oracle_and_its_model_is_in_eval_during_calls_alone(name: str) -> None:
    net = Net()
    net.body[0].weight.requires_grad_(False)
    oracle = functions(net)[name]
    evaluator = Evaluator(oracle)
    expected = EXPECTED.predict(x().mT) if name == "predict" else EXPECTED(x().mT)
    torch.testing.assert_close(evaluator.score(x()), expected.detach())
    assert evaluator.oracle.function is oracle
    assert (net.training, net.body[1].training) == (True, True)
    assert [weight.requires_grad for weight in net.parameters()] == [False, True]


def test_a_function_is_taken_wherever_an_oracle_is(tmp_path: Path) -> None:
    def guanine(x: Tensor) -> Tensor:
        return x[:, 2].mean(-1)

    total = WeightedSum([guanine, lambda x: x[:, 0].sum(-1)], [1.0, -0.5])
    assert total.names[0] == "guanine_1"
    torch.testing.assert_close(total(x().mT), x()[..., 2].mean(-1) - 0.5 * x()[..., 0].sum(-1))
    assert Ensemble([guanine, guanine], 0.0)(x().mT).shape == (5,)
    torch.manual_seed(0)
    designer = SequenceDesigner(
        lambda x: (x, guanine(x)),
        Edit("ACGTACGTAC", 0.01),
        search=GradientSearch(4, 4, polish=Polish(calls=100)),
        output=1,
        judge=guanine,
    )
    trainer(tmp_path).fit(designer)
    best = designer.designs(1)[0]
    assert (best.sequence, best.more["judge"]) == ("G" * 10, 1.0)


def test_what_is_no_oracle() -> None:
    with pytest.raises(TypeError, match=r"got the class Net: make an object of it, with \(\)"):
        DesignProblem(Net, FromNothing(20))
    with pytest.raises(TypeError, match=r"a module or a function of one-hot sequences .* got str"):
        SequenceDesigner("my_oracle", FromNothing(20))  # type: ignore[arg-type]

    def letters(sequences: Any) -> list[float]:
        return [float(sequence.count("G")) for sequence in sequences]

    with pytest.raises(ValueError, match=r"the oracle letters failed when it was first called.*BlackBox makes one of"):
        Evaluator(letters).score(x())


@pytest.mark.parametrize(
    "kind", [list, torch.tensor, lambda v: torch.tensor(v).numpy(), lambda v: torch.tensor(v)[:, None]]
)
def test_a_function_of_strings_may_return_lists_arrays_and_columns(kind: Any) -> None:
    oracle = BlackBox(lambda sequences: kind([sequence.count("G") for sequence in sequences]))
    assert oracle(x().mT).tolist() == x()[..., 2].sum(-1).tolist()


@pytest.mark.parametrize("answer", [{"score": [1.0]}, None, [[1.0, 2.0], [1.0]], "GATTACA"])
def test_a_function_of_strings_that_returns_something_else(answer: Any) -> None:
    with pytest.raises(ValueError, match="the function of BlackBox must return one number a sequence, got"):
        BlackBox(lambda sequences: answer)(x().mT)


class Prepared(nn.Module):
    prepared = False

    def prepare_oracle(self) -> None:
        self.prepared = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x.mean((1, 2))


def test_an_oracle_inside_another_one_is_prepared(tmp_path: Path) -> None:
    parts = [Prepared() for _ in range(3)]
    designer = SequenceDesigner(
        WeightedSum([OneOutput(parts[0], 1), Ensemble([OneOutput(part, 1) for part in parts[1:]])], [1.0, 1.0]),
        FromNothing(6),
        search=GradientSearch(2, 1, polish=Polish(calls=2)),
    )
    trainer(tmp_path).fit(designer)
    assert all(part.prepared for part in parts)


def test_the_models_of_a_function_move_with_it() -> None:
    net = Net()
    oracle = FunctionOracle(lambda x: net(x)).double()
    assert net.body[0].weight.dtype == torch.float64
    assert Evaluator(oracle).score(x()).dtype == torch.float32
