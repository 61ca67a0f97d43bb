"""Paired draws: exact probabilities, and ReinMax's gradient in the mean, by enumeration and by sampling."""

import torch

from discrete_lightning.estimators import Paired
from discrete_lightning.functional import Pair, draw_pair, pair_slope, paired
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded

ROW = torch.tensor([0.5, -1.0, 0.0, 1.5, -torch.inf], dtype=torch.float64)


def reinmax_of(p: torch.Tensor, d: int, g: torch.Tensor) -> torch.Tensor:
    """2 J((p + D) / 2) g - J(p) g / 2."""
    q = (p + torch.nn.functional.one_hot(torch.tensor(d), len(p))) / 2
    return 2 * q * (g - q @ g) - p * (g - p @ g) / 2


def test_the_mean_over_rivals_is_reinmax() -> None:
    """For every draw D, and g of any size: all rivals j, weighted by their probabilities."""
    p, g = torch.softmax(ROW, 0), torch.randn(5, dtype=torch.float64, generator=seeded(0))
    for d in range(4):
        mean = torch.zeros(5, dtype=torch.float64)
        for j in range(4):
            if j != d:
                logits = leaf(ROW, torch.float64)
                pair = Pair(torch.tensor(d), torch.tensor(j), 1 - p[d])
                ((g[d] - g[j]) * pair_slope(logits, pair)).backward()
                assert logits.grad is not None
                mean += p[j] / (1 - p[d]) * logits.grad
        torch.testing.assert_close(mean, reinmax_of(p, d, g), rtol=0, atol=1e-9)


def test_draws_and_rivals_have_their_probabilities() -> None:
    rows = 40_000
    pair = draw_pair(ROW.expand(rows, 5), generator=seeded(1))
    p = torch.softmax(ROW, 0)
    assert chi_square_p(pair.drawn.bincount(minlength=5), p) > 1e-4
    assert (pair.drawn != pair.rival).all()
    for d in range(4):
        others = p.clone()
        others[d] = 0
        assert chi_square_p(pair.rival[pair.drawn == d].bincount(minlength=5), others / others.sum()) > 1e-4
    torch.testing.assert_close(pair.weight, 1 - p[pair.drawn])


def test_one_hot_samples_have_the_gradient_of_the_pair() -> None:
    logits = leaf(ROW.expand(1000, 5), torch.float64)
    g = torch.randn(1000, 5, dtype=torch.float64, generator=seeded(2))
    sample = paired(logits, generator=seeded(3))
    (sample * g).sum().backward()
    pair = draw_pair(ROW.expand(1000, 5), generator=seeded(3))
    assert torch.equal(sample.argmax(-1), pair.drawn)
    again = leaf(ROW.expand(1000, 5), torch.float64)
    at = torch.arange(1000)
    ((g[at, pair.drawn] - g[at, pair.rival]) * pair_slope(again, pair)).sum().backward()
    torch.testing.assert_close(logits.grad, again.grad)


def test_no_other_category() -> None:
    """No NaN, and no gradient, where the rival has no probability."""
    logits = leaf(torch.tensor([[0.0, -torch.inf], [0.0, -200.0]]))
    pair = draw_pair(logits)
    assert torch.equal(pair.rival, pair.drawn)
    (pair_slope(logits, pair).sum() + paired(logits)[:, 0].sum()).backward()
    assert logits.grad is not None
    assert logits.grad.eq(0).all()
    assert torch.equal(Paired()(torch.zeros(3, 1)), torch.ones(3, 1))
