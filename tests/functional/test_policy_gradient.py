"""The score-function gradient against enumeration of a language of 125 sentences, and the optimum that it leads to."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import StraightThrough
from discrete_lightning.functional import kl_to_reference, policy_gradient
from tests.references.inputs import leaf, seeded
from tests.references.small_language import SENTENCES, WORDS, Language, kl

INF = math.inf
Z = torch.zeros
REWARD = torch.randn(125, generator=seeded(7), dtype=torch.float64)  # of each sentence
BASELINES: list[Tensor | None] = [None, torch.tensor(0.4, dtype=torch.float64)]


def exact_gradient(pi: Language) -> Tensor:
    return pi.gradient((pi.log_p().exp() * REWARD).sum())


def test_leave_one_out_over_all_pairs_of_sentences() -> None:
    """E over two independent draws, all 125^2 pairs: exact."""
    pi = Language.random(0)
    log_p = pi.log_p()
    first, second = torch.cartesian_prod(torch.arange(125), torch.arange(125)).T
    pairs = torch.stack([first, second])
    p = log_p.detach().exp()
    weights = p[first] * p[second]
    # the loss is a mean over pairs: rewards and baseline are linear in it, so each pair is weighted by its log-probability
    found = torch.zeros(155, dtype=torch.float64)
    scores = torch.stack([pi.gradient(each) for each in log_p])  # grad log p of each sentence, (125, 155)
    actions = leaf(log_p.detach()[pairs], dtype=torch.float64)
    policy_gradient(REWARD[pairs], actions).backward()
    slopes = actions.grad * len(weights) * weights  # d loss of a pair / d log p of each of its sentences
    for each, chosen in zip(slopes, pairs, strict=True):
        found += torch.zeros(125, dtype=torch.float64).index_add_(0, chosen, each) @ scores
    torch.testing.assert_close(-found, exact_gradient(pi))


@pytest.mark.parametrize("baseline", BASELINES, ids=str)
def test_other_baselines_over_all_sentences(baseline: Tensor | None) -> None:
    pi = Language.random(0)
    log_p = pi.log_p()
    # sentence i, p_i times in 125 draws: as if the mean over draws were weighted
    found = torch.zeros(155, dtype=torch.float64)
    for number, weight in enumerate(log_p.detach().exp()):
        found += weight * pi.gradient(policy_gradient(REWARD[number], log_p[number], baseline))
    torch.testing.assert_close(-found, exact_gradient(pi))


@pytest.mark.parametrize("baseline", ["leave_one_out", None])
def test_draws(baseline: str | None) -> None:
    """The mean over 20,000 groups of four draws lies within 5 standard errors of the exact gradient, in each of 155 entries."""
    pi = Language.random(0)
    log_p = pi.log_p()
    index = pi.draw(4 * 20_000, seed=1).view(4, -1)
    scores = torch.stack([pi.gradient(each) for each in log_p])
    actions = leaf(log_p.detach()[index], dtype=torch.float64)
    policy_gradient(REWARD[index], actions, baseline).backward()
    per_action = -actions.grad * index.numel() / 4
    each = torch.stack([slopes.unsqueeze(1) * scores[i] for slopes, i in zip(per_action, index, strict=True)]).sum(0)
    error = each.std(0) / math.sqrt(len(each))
    assert ((each.mean(0) - exact_gradient(pi)).abs() <= 5 * error + 1e-12).all()


def test_value_is_minus_the_mean_reward() -> None:
    r, log_p = torch.randn(4, 3, generator=seeded(2)), torch.randn(4, 3, generator=seeded(3))
    for baseline in ("leave_one_out", None, torch.ones(3), torch.ones(4, 1)):
        loss = policy_gradient(r, log_p, baseline)
        assert loss.shape == ()
        torch.testing.assert_close(loss, -r.mean())


def test_no_gradient_passes_to_rewards_or_baseline() -> None:
    r, log_p, values = leaf([1.0, 3.0]), leaf([-1.0, -2.0]), leaf([0.5, 1.0])
    policy_gradient(r, log_p, values).backward()
    assert r.grad is None
    assert values.grad is None
    assert log_p.grad.tolist() == [-0.25, -1.0]  # -(r - b) / 2


def test_precision() -> None:
    r, log_p = torch.randn(4, 3, generator=seeded(2)), torch.randn(4, 3, generator=seeded(3))
    for dtype in (torch.bfloat16, torch.float16):
        x = leaf(log_p, dtype=dtype)
        loss = policy_gradient(r.to(dtype), x)
        loss.backward()
        assert loss.dtype == torch.float32
        y = leaf(x.detach(), dtype=torch.float64)
        policy_gradient(r.to(dtype).double(), y).backward()
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-2, atol=1e-3)


def test_a_mask_leaves_out_steps() -> None:
    r, log_p, values = (torch.randn(5, 3, generator=seeded(n)) for n in (2, 3, 4))
    mask = torch.rand(5, 3, generator=seeded(5)) < 0.6
    log_p[~mask], r[~mask] = -INF, math.nan
    for baseline in (None, values):
        x, y = leaf(log_p), leaf(log_p[mask])
        found = policy_gradient(r, x, baseline, mask=mask)
        expected = policy_gradient(r[mask], y, None if baseline is None else baseline[mask])
        torch.testing.assert_close(found, expected)
        found.backward()
        expected.backward()
        torch.testing.assert_close(x.grad[mask], y.grad)
        assert not x.grad[~mask].any()


def test_a_mask_leaves_out_starts() -> None:
    r, log_p = torch.randn(4, 3, generator=seeded(2)), leaf(torch.randn(4, 3, generator=seeded(3)))
    mask = torch.tensor([True, False, True])
    found = policy_gradient(r, log_p, mask=mask)
    found.backward()
    rest = leaf(log_p.detach()[:, mask])
    expected = policy_gradient(r[:, mask], rest)
    expected.backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(log_p.grad[:, mask], rest.grad)
    assert not log_p.grad[:, 1].any()
    assert policy_gradient(r, log_p, mask=torch.zeros(3, dtype=torch.bool)) == 0
    with pytest.raises(ValueError, match=r"a mask is bool.*of shape \(3,\)"):
        policy_gradient(r, log_p, mask=torch.ones(4, 3, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(2, 0), (3, 0, 4)])
def test_nothing_to_learn_from(shape: tuple[int, ...]) -> None:
    log_p = torch.zeros(shape, requires_grad=True)
    loss = policy_gradient(torch.zeros(shape), log_p)
    loss.backward()
    assert loss == 0
    assert policy_gradient(torch.zeros(0), torch.zeros(0), None) == 0


@pytest.mark.parametrize(
    ("rewards", "log_p", "arguments", "words"),
    [
        (Z(4), Z(4, 3), {}, r"the reward returned shape \(4,\) for actions of shape \(4, 3\)"),
        (torch.tensor([math.nan, 1.0]), Z(2), {}, "1 of 2 rewards are not finite: 1 NaN, 0 infinite"),
        (torch.tensor([INF, -INF]), Z(2), {}, "2 of 2 rewards are not finite: 0 NaN, 2 infinite"),
        (Z(2), torch.tensor([-INF, 0.0]), {}, "1 of 2 log-probabilities are not finite.*not drawn from"),
        (Z(1, 3), Z(1, 3), {}, "two or more samples"),
        (Z(()), Z(()), {}, "two or more samples"),
        (Z(2), Z(2), {"baseline": "mean"}, "baseline is .leave_one_out., None or a tensor, got 'mean'"),
        (Z(2), Z(2), {"baseline": Z(3)}, r"shape of the rewards, \(2,\), got shape \(3,\)"),
        (Z(2), Z(2), {"baseline": 0.5}, "got 0.5"),
        (Z(2), Z(2), {"baseline": None, "mask": Z(2)}, "a mask is bool"),
    ],
)
def test_bad_input(rewards: Tensor, log_p: Tensor, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        policy_gradient(rewards, log_p, **arguments)


@pytest.mark.parametrize("baseline", ["leave_one_out", None, torch.ones(3)], ids=str)
def test_compiled(baseline: str | Tensor | None) -> None:
    r, log_p = torch.randn(4, 3, generator=seeded(2)), torch.randn(4, 3, generator=seeded(3))
    compiled = torch.compile(policy_gradient, fullgraph=True, backend="aot_eager")
    x, y = leaf(log_p), leaf(log_p)
    compiled(r, x, baseline).backward()
    policy_gradient(r, y, baseline).backward()
    torch.testing.assert_close(x.grad, y.grad)


# The optimum of E r - beta KL(pi || ref) is ref exp(r / beta) / Z

BETA = 0.5


def _k1_in_the_return(pi: Language, ref: Tensor, index: Tensor) -> Tensor:
    log_p = pi.log_p()[index]
    return policy_gradient(REWARD[index] - BETA * kl_to_reference(log_p, ref[index]), log_p)


def _k2_as_a_loss(pi: Language, ref: Tensor, index: Tensor) -> Tensor:
    log_p = pi.log_p()[index]
    return policy_gradient(REWARD[index], log_p) + BETA * kl_to_reference(log_p, ref[index], "k2").mean()


def _exact(pi: Language, ref: Tensor, _: Tensor) -> Tensor:
    log_p = pi.log_p()
    return BETA * kl_to_reference(log_p, ref, "exact") - (log_p.exp() * REWARD).sum()


@pytest.mark.parametrize("objective", [_k1_in_the_return, _k2_as_a_loss, _exact])
def test_the_optimum_is_reached(objective: Callable[[Language, Tensor, Tensor], Tensor]) -> None:
    """To 1 % of the KL from the reference to the optimum."""
    ref = Language.random(1).log_p().detach()
    optimum = (ref + REWARD / BETA).log_softmax(-1)
    pi = Language.random(1)
    assert kl(pi.log_p(), ref) == 0
    optimizer = torch.optim.Adam(pi.tables, lr=0.1)
    steps = 400
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        index = pi.draw(512, seed=step).view(4, -1)
        optimizer.zero_grad()
        objective(pi, ref, index).backward()
        optimizer.step()
        schedule.step()
    start = kl(ref, optimum)
    assert start > 0.5
    assert kl(pi.log_p(), optimum) < 0.01 * start


# Words passed straight through, into a reward that is linear in them


def test_straight_through_words_have_the_gradient_that_enumeration_gives() -> None:
    """E over all sentences of the straight-through gradient sum_t J_t^T dr/dw_t, J_t the Jacobian of the softmax, against the
    mean over 40,000 draws of the estimator: within 5 standard errors in each of 155 entries. It is exact for the last word."""
    pi = Language.random(0)
    weights = torch.randn(3, WORDS, generator=seeded(8), dtype=torch.float64)
    p = pi.log_p().detach().exp()

    expected = torch.zeros(155, dtype=torch.float64)
    positions = pi.positions(SENTENCES)
    for number, sentence in enumerate(p):
        expected += sentence * pi.gradient((positions[number].exp() * weights).sum())

    draws = 40_000
    estimator, generator = StraightThrough(), seeded(9)
    before: list[Tensor] = []
    reward = torch.zeros(draws, dtype=torch.float64)
    rows: list[Tensor] = []
    for n, table in enumerate(pi.tables):
        rows.append(table[tuple(before)].expand(draws, WORDS).detach().requires_grad_())
        word = estimator(rows[-1], 1.0, generator)
        reward = reward + (word * weights[n]).sum(-1)
        before.append(word.argmax(-1))
    slopes = torch.autograd.grad(reward.sum(), rows)
    start = 0
    for n, slope in enumerate(slopes):
        cells = WORDS**n
        where = sum(
            (word * WORDS ** (n - 1 - i) for i, word in enumerate(before[:n])), torch.zeros(draws, dtype=torch.int64)
        )
        for cell, word in itertools.product(range(cells), range(WORDS)):
            values = slope[:, word] * (where == cell)
            error = values.std() / math.sqrt(draws)
            assert (values.mean() - expected[start + cell * WORDS + word]).abs() <= 5 * error + 1e-12
        start += cells * WORDS
    exact = pi.gradient((pi.log_p().exp() * torch.stack([weights[n, SENTENCES[:, n]] for n in range(3)]).sum(0)).sum())
    torch.testing.assert_close(expected[-125:], exact[-125:])
    assert (expected[5:30] - exact[5:30]).norm() > 0.1 * exact[5:30].norm()  # earlier words change later ones
