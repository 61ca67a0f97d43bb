"""Judges: frozen, differentiable with respect to rows, equal to what they say they compute."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import GumbelSoftmax, StraightThrough
from discrete_lightning.text import (
    ClassifierJudge,
    GRUNetwork,
    Judge,
    LanguageJudge,
    TokenChoice,
    TransformerNetwork,
    relaxed_unroll,
)

V, T, B = 7, 5, 4


def classifier() -> Judge:
    return ClassifierJudge(V, classes=3, wanted=2, dim=4, hidden_dim=5).freeze()


def recurrent() -> Judge:
    return LanguageJudge(GRUNetwork(V, dim=4, hidden_dim=6, dropout=0.5), prompt=1)


def attending() -> Judge:
    return LanguageJudge(TransformerNetwork(V, context=8, dim=8, heads=2, layers=1), prompt=1)


def untied() -> Judge:
    network = GRUNetwork(V, dim=4, hidden_dim=6)
    network.head = nn.Linear(4, V)  # not tied to the table
    nn.init.normal_(network.head.bias)
    return LanguageJudge(network, prompt=1)


JUDGES = [classifier, recurrent, attending, untied]
each_judge = pytest.mark.parametrize("make", JUDGES)


def lines() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(T) < torch.tensor([[5], [1], [3], [5]])
    return tokens, mask


@pytest.mark.parametrize("make", [recurrent, attending, untied])
def test_a_language_judge_gives_the_mean_log_probability(
    make: Callable[[], LanguageJudge], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discrete_lightning.text.judges.language._ELEMENTS", 3 * V)  # several blocks
    torch.manual_seed(0)
    judge = make()
    tokens, mask = lines()
    inputs = torch.cat([torch.full((B, 1), 1), tokens[:, :-1]], 1)
    log_q = torch.log_softmax(judge.network(inputs), -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    expected = (log_q * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(judge.score_tokens(tokens, mask), expected)


@each_judge
def test_the_gradient_to_the_rows_is_right(make: Callable[[], Judge]) -> None:
    torch.manual_seed(0)
    judge = make().double()
    mask = lines()[1]
    samples = torch.softmax(torch.randn(B, T, V, dtype=torch.float64), -1)
    rows = (samples @ judge.table()).detach().requires_grad_()
    if isinstance(judge, LanguageJudge):
        assert torch.autograd.gradcheck(lambda r: judge(r * mask.unsqueeze(-1), mask), rows, atol=1e-4)
    else:
        assert torch.autograd.gradcheck(lambda r: judge(r, mask), rows, atol=1e-4)


@each_judge
def test_what_follows_the_end_has_no_influence(make: Callable[[], Judge]) -> None:
    torch.manual_seed(0)
    judge, (tokens, mask) = make(), lines()
    other = tokens.masked_fill(~mask, 3)
    torch.testing.assert_close(judge.score_tokens(tokens, mask), judge.score_tokens(other, mask))


@each_judge
def test_it_is_frozen(make: Callable[[], Judge]) -> None:
    judge = make().train()
    assert not any(each.training for each in judge.modules())
    assert not any(each.requires_grad for each in judge.parameters())
    tokens, mask = lines()
    assert torch.equal(judge.score_tokens(tokens, mask), judge.score_tokens(tokens, mask))  # no dropout
    for twin in (copy.deepcopy(judge), pickle.loads(pickle.dumps(judge))):
        assert torch.equal(twin.score_tokens(tokens, mask), judge.score_tokens(tokens, mask))


@each_judge
def test_half_precision(make: Callable[[], Judge]) -> None:
    torch.manual_seed(0)
    judge, (tokens, mask) = make(), lines()
    expected = judge.score_tokens(tokens, mask)
    with torch.autocast("cpu", torch.bfloat16):
        under = judge.score_tokens(tokens, mask)
    found = judge.to(torch.bfloat16).score_tokens(tokens, mask)
    assert found.dtype == under.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
    torch.testing.assert_close(under, expected, rtol=0.05, atol=0.05)


@each_judge
@pytest.mark.parametrize("last", [0, None])
def test_a_generators_gradient_arrives(make: Callable[[], Judge], last: int | None) -> None:
    """Soft words: the gradient of the whole, by finite differences along one direction."""
    torch.manual_seed(0)
    judge, network, choice = make().double(), GRUNetwork(V, dim=4, hidden_dim=6).double(), TokenChoice(GumbelSoftmax())
    nn.init.normal_(network.embedding.weight)

    def score() -> Tensor:
        generator = torch.Generator().manual_seed(1)
        prompt = torch.zeros(B, 1, dtype=torch.int64)
        found = relaxed_unroll(network, choice, prompt, T, table=judge.table(), through_last=last, generator=generator)
        return judge(found.rows, found.mask).sum()

    parameter = network.head.bias if last is None else network.projection.bias
    (gradient,) = torch.autograd.grad(score(), parameter)
    assert gradient.abs().max() > 1e-3
    if last is None:
        direction = torch.randn(parameter.shape, dtype=torch.float64)
        with torch.no_grad():
            parameter += 1e-5 * direction
            above = score()
            parameter -= 2e-5 * direction
            below = score()
        torch.testing.assert_close((gradient * direction).sum(), (above - below) / 2e-5, rtol=1e-3, atol=1e-5)


def test_learning_a_class() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(V, (300, T))
    labels = (tokens[:, 1] > 3).long()
    judge = ClassifierJudge(V, dim=8, hidden_dim=8)
    assert judge.learn(tokens, labels, steps=200, learning_rate=0.02) > 0.9
    scores = judge.score_tokens(tokens)
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + 1
    assert not any(each.requires_grad for each in judge.parameters())


def test_bad_input_is_refused() -> None:
    judge, (tokens, mask) = recurrent(), lines()
    with pytest.raises(ValueError, match=r"takes rows \(B, T, 5\) of its table and a mask \(B, T\), got \(4, 5, 3\)"):
        judge(torch.zeros(B, T, 3), mask)
    with pytest.raises(ValueError, match="one of the network's 7 tokens, got 7"):
        LanguageJudge(GRUNetwork(V, dim=4, hidden_dim=6), prompt=7)
    with pytest.raises(ValueError, match="one of the 2 classes, got 2"):
        ClassifierJudge(V, wanted=2)
    with pytest.raises(ValueError, match="10 or more lines"):
        ClassifierJudge(V).learn(tokens, torch.zeros(B, dtype=torch.int64))
    with pytest.raises(ValueError, match="V=6 tokens"):
        relaxed_unroll(
            GRUNetwork(6, dim=4, hidden_dim=6),
            TokenChoice(StraightThrough()),
            tokens[:, :1] * 0,
            T,
            table=judge.table(),
        )
