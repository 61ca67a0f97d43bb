import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.design import Evaluator, Goal, Maximize, Minimize, Target
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.oracles import Ensemble, OneOutput, WeightedSum
from tests.design.toy_oracles import Constant, Linear, Pairs


def one_hot(count: int, length: int = 6, seed: int = 0) -> Tensor:
    tokens = torch.randint(4, (count, length), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(tokens, 4).float()


def test_counts_every_sequence_once_and_only_what_the_oracle_saw() -> None:
    oracle = Linear(6)
    evaluator = Evaluator(oracle, batch=4)
    evaluator.score(one_hot(10))
    evaluator.evaluate(one_hot(3), gradient=True)
    evaluator(one_hot(6).view(2, 3, 6, 4).requires_grad_()).scores.sum().backward()
    assert evaluator.count == oracle.rows == 19


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_gradient_is_the_oracles(batch: int) -> None:
    oracle = Pairs()
    x = torch.softmax(torch.randn(2, 5, 6, 4, generator=torch.Generator().manual_seed(0)), -1)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.linspace(-1, 1, 10).view(2, 5)
    value = Evaluator(oracle, batch)(ours).scores
    expected = oracle(theirs.flatten(0, 1).mT).view(2, 5)
    torch.testing.assert_close(value, expected)
    (value * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_an_oracle_without_gradient_gives_zeros() -> None:
    evaluation = Evaluator(Pairs(hard=True)).evaluate(one_hot(3), gradient=True)
    assert evaluation.scores.unique().numel() > 1
    assert evaluation.gradient is not None
    assert not evaluation.gradient.any()


def test_an_oracle_without_gradient_is_refused_where_one_is_needed() -> None:
    evaluator, x = Evaluator(Pairs(hard=True)), one_hot(3)
    evaluator.score(x)
    with pytest.raises(ValueError, match=r"Pairs has no gradient.*LeaveOneOut.*SurrogateSearch"):
        evaluator(x.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_scores_are_not_rounded_by_a_cast_of_the_model(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 1))
    exact = Evaluator(model).score(one_hot(5))
    cast = nn.ModuleList([Evaluator(model)]).to(dtype)[0]
    assert torch.equal(cast.score(one_hot(5)), exact)
    assert model[1].weight.dtype == torch.float32


def test_oracle_is_frozen_and_in_eval() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(24, 1))
    evaluator = Evaluator(model)
    evaluator.train()
    assert torch.equal(evaluator.score(one_hot(4)), evaluator.score(one_hot(4)))
    evaluator(one_hot(4).requires_grad_()).scores.sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_components_of_a_weighted_sum() -> None:
    oracle = WeightedSum([Linear(6, seed=0), Linear(6, seed=1)], [1.0, -2.0])
    evaluator = Evaluator(oracle, batch=3)
    for evaluation in (evaluator.evaluate(one_hot(7)), evaluator(one_hot(7).requires_grad_())):
        assert evaluation.components is not None
        torch.testing.assert_close(evaluation.components @ torch.tensor([1.0, -2.0]), evaluation.scores.detach())


class Parts(nn.Module):
    """An oracle of a user's own, whose attributes have the names of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.components, self.names = nn.ModuleList([Pairs()]), ["a", "b", "c"]

    def forward(self, x: Tensor) -> Tensor:
        return self.components[0](x)


def test_an_oracle_is_known_by_its_class_and_not_by_its_attributes() -> None:
    evaluator = Evaluator(Parts())
    evaluation = evaluator.evaluate(one_hot(3))
    assert torch.equal(evaluation.scores, Evaluator(Pairs()).score(one_hot(3)))
    assert evaluation.components is None


@pytest.mark.parametrize(
    ("goal", "weight", "sign"),
    [(Maximize(), 1.0, -1), (Minimize(), 1.0, 1), (Maximize(), -2.0, -2), (Minimize(), -2.0, 2)],
)
def test_uncertainty_makes_a_score_worse_in_every_direction(goal: Goal, weight: float, sign: float) -> None:
    """Alone (weight 1) and in a sum; the loss is always that of the mean plus the uncertainty."""
    members = [Linear(6, seed=seed) for seed in range(3)]
    ensemble = Ensemble(members, pessimism=0.5)
    x = one_hot(7)
    mean, deviation = (each.detach() for each in ensemble.predict(x.mT))
    oracle = ensemble if weight == 1 else WeightedSum([ensemble], [weight], ["e"])
    evaluator = Evaluator(oracle, goal=goal)
    evaluation = evaluator.evaluate(x)
    score = evaluation.scores
    torch.testing.assert_close(score, weight * mean + 0.5 * sign * deviation)
    torch.testing.assert_close(goal.loss(score), goal.loss(weight * mean) + 0.5 * abs(weight) * deviation)
    assert evaluation.components is not None
    torch.testing.assert_close(evaluation.components, torch.stack([mean, deviation], 1))
    assert evaluator.names == (["mean", "deviation"] if weight == 1 else ["e_mean", "e_deviation"])


def test_uncertainty_moves_a_score_away_from_a_target() -> None:
    ensemble = Ensemble([Constant(1.0), Constant(3.0)], pessimism=1.0)  # mean 2, deviation 2 ** 0.5
    for value, expected in ((5.0, 2 - 2**0.5), (0.0, 2 + 2**0.5)):
        score = Evaluator(ensemble, goal=Target(value)).score(one_hot(1))
        assert float(score) == pytest.approx(expected)


def test_a_model_of_several_outputs_runs_once() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 3))
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    evaluator = Evaluator(WeightedSum([OneOutput(model, 0), OneOutput(model, 2)], [1.0, -1.0]))
    score = evaluator.score(one_hot(4))
    assert len(calls) == 1
    y = model(one_hot(4).mT).detach()
    torch.testing.assert_close(score, y[:, 0] - y[:, 2])


class Wrong(nn.Module):
    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: Tensor) -> object:
        return self.result(x)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda x: x.sum((1, 2)) * torch.nan, ["Wrong returned NaN for 3 of 3 sequences", "after 3 evaluations"]),
        (lambda x: torch.zeros(3, 2), ["(3,) or (3, 1)", "(3, 2)", "OneOutput"]),
        (lambda x: torch.zeros(()), ["for 3 sequences", "()"]),
        (lambda x: [0.0] * 3, ["must return a tensor", "list"]),
    ],
)
def test_oracles_that_answer_wrongly(result: object, words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        Evaluator(Wrong(result)).score(one_hot(3))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_an_error_of_the_first_call_says_what_it_was_called_with() -> None:
    with pytest.raises(
        ValueError, match=r"Linear failed when it was first called, with \(3, 4, 7\) = \(batch, letters, leng"
    ) as e:
        Evaluator(Linear(6)).score(one_hot(3, length=7))
    assert isinstance(e.value.__cause__, RuntimeError)
    assert str(e.value.__cause__) in str(e.value)


@pytest.mark.parametrize(
    "oracle",
    [WeightedSum([Pairs(), nn.Flatten()], [1.0, 1.0]), Ensemble([Pairs(), nn.Flatten()])],
    ids=["sum", "ensemble"],
)
def test_a_member_of_the_wrong_shape_is_named(oracle: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"oracle Flatten must return one score a sequence.*returned shape \(3, 24\)"):
        Evaluator(oracle).score(one_hot(3))


def test_an_infinitely_good_score_is_an_error_and_names_the_sequence() -> None:
    x = one_hot(2)
    best = DNA.decode(x[1].argmax(-1))

    def infinite(sign: float) -> Wrong:
        return Wrong(lambda y: torch.where((y == x[1].mT).all((1, 2)), sign * torch.inf, 0.0))

    for goal, sign in ((Maximize(), 1.0), (Minimize(), -1.0)):
        with pytest.raises(
            ValueError, match=f"Wrong returned an infinitely good score for 1 of 2 .* first one is {best}"
        ):
            Evaluator(infinite(sign), goal=goal, alphabet=DNA).score(x)
        assert not Evaluator(infinite(-sign), goal=goal).score(x)[1].isfinite()


def test_one_output_of_several() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 3))
    x = one_hot(2)
    assert torch.equal(Evaluator(OneOutput(model, 1)).score(x), model(x.mT.flatten(1)).detach()[:, 1])
    with pytest.raises(ValueError, match="no output 3"):
        Evaluator(OneOutput(model, 3)).score(x)
