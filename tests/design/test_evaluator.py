import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.design import Evaluator
from discrete_lightning.oracles import OneOutput, WeightedSum
from tests.design.oracles import Linear, Pairs


def one_hot(count: int, length: int = 6, seed: int = 0) -> Tensor:
    tokens = torch.randint(4, (count, length), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.one_hot(tokens, 4).float()


def test_counts_every_sequence_once_and_only_what_the_oracle_saw() -> None:
    oracle = Linear(6)
    evaluator = Evaluator(oracle, batch=4)
    evaluator.score(one_hot(10))
    evaluator.score_and_gradient(one_hot(3))
    evaluator(one_hot(6).view(2, 3, 6, 4).requires_grad_()).sum().backward()
    assert evaluator.count == oracle.rows == 19


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_gradient_is_the_oracles(batch: int) -> None:
    oracle = Pairs()
    x = torch.softmax(torch.randn(2, 5, 6, 4, generator=torch.Generator().manual_seed(0)), -1)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.linspace(-1, 1, 10).view(2, 5)
    value = Evaluator(oracle, batch)(ours)
    expected = oracle(theirs.flatten(0, 1).mT).view(2, 5)
    torch.testing.assert_close(value, expected)
    (value * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_an_oracle_without_gradient_gives_zeros() -> None:
    scores, slope = Evaluator(Pairs(hard=True)).score_and_gradient(one_hot(3))
    assert scores.unique().numel() > 1
    assert not slope.any()


def test_oracle_is_frozen_and_in_eval() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(24, 1))
    evaluator = Evaluator(model)
    evaluator.train()
    assert torch.equal(evaluator.score(one_hot(4)), evaluator.score(one_hot(4)))
    evaluator(one_hot(4).requires_grad_()).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_components_of_a_weighted_sum() -> None:
    oracle = WeightedSum([Linear(6, seed=0), Linear(6, seed=1)], [1.0, -2.0])
    evaluator = Evaluator(oracle, batch=3)
    score = evaluator.score(one_hot(7))
    assert evaluator.components is not None
    torch.testing.assert_close(evaluator.components @ torch.tensor([1.0, -2.0]), score)


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


def test_one_output_of_several() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 3))
    x = one_hot(2)
    assert torch.equal(Evaluator(OneOutput(model, 1)).score(x), model(x.mT.flatten(1)).detach()[:, 1])
    with pytest.raises(ValueError, match="no output 3"):
        Evaluator(OneOutput(model, 3)).score(x)
