"""I-MLE: its gradient given the noise, row by row, and its mean for linear functions. Intervals of 5 sigma."""

import sys

import pytest
import torch

from discrete_lightning.functional import gumbel_noise, implicit_mle
from tests.estimators.test_means import ROWS, of_categories
from tests.references import estimators as reference
from tests.references.inputs import leaf, seeded


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("samples", [1, 4])
def test_the_gradient_given_the_noise(samples: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    module = sys.modules["discrete_lightning.functional.implicit_mle"]
    given = module._given_the_draw
    monkeypatch.setattr(module, "_given_the_draw", lambda *x: (found.append(given(*x)), found[-1])[1])
    logits, g, tau = leaf(torch.randn(30, 5, generator=seeded(1))), torch.randn(30, 5, generator=seeded(2)), 0.8
    sample = implicit_mle(logits, tau, k=k, samples=samples, generator=seeded(3))
    sample.backward(g)
    noisy = found[0] if found else (logits.detach() + gumbel_noise((30, 5), generator=seeded(3))).unsqueeze(0)
    assert len(noisy) == samples
    for row in range(30):
        step = tau / float(g[row].max() - g[row].min())
        total = torch.zeros(5)
        for one in noisy[:, row]:
            best = set(one.topk(k).indices.tolist())
            assert best == set(sample[row].nonzero().flatten().tolist())
            for index in (one - step * g[row]).topk(k).indices.tolist():
                total[index] -= 1 / samples
        total += sample.detach()[row]
        torch.testing.assert_close(logits.grad[row], total / step, rtol=1e-4, atol=1e-5)


def test_the_mean_for_linear_functions_is_a_difference_of_mean_draws() -> None:
    """(p - softmax(logits - l g)) / l, with l = tau / (max g - min g)."""
    function, tau = of_categories(1), 0.7
    logits = leaf(ROWS.expand(40_000, 2, 3))
    function(implicit_mle(logits, tau, generator=seeded(4))).sum().backward()
    g = reference.cotangents(function, torch.zeros(1, 2, 3))[0]
    step = tau / (g.amax(-1, keepdim=True) - g.amin(-1, keepdim=True))
    x = ROWS.double()
    reference.assert_mean(logits.grad, (torch.softmax(x, -1) - torch.softmax(x - step * g, -1)) / step)


def test_the_scale_of_the_loss_does_not_matter() -> None:
    gradients = []
    for scale in (1.0, 1e-4):
        logits = leaf(torch.randn(50, 4, generator=seeded(5)))
        (scale * implicit_mle(logits, 0.5, generator=seeded(6)) @ torch.arange(4.0)).sum().backward()
        gradients.append(logits.grad / scale)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        implicit_mle(torch.zeros(3), samples=0)
