"""Losses with a mask against the same losses of the tokens that count, alone."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from discrete_lightning.losses import (
    CodeDiversity,
    EntropyBonus,
    choice_entropy,
    code_diversity,
    commitment_loss,
    marginal_distribution,
    marginal_entropy,
)
from tests.references.inputs import seeded

Loss = Callable[[Tensor, Tensor | None], Tensor]
TAU = torch.tensor(0.7)
LOSSES: dict[str, Loss] = {
    "choice_entropy": choice_entropy,
    "marginal_distribution": lambda x, mask: marginal_distribution(x, 1, mask),
    "marginal_entropy": lambda x, mask: marginal_entropy(x, 1, mask),
    "code_diversity": lambda x, mask: code_diversity(x, 1, mask),
    "EntropyBonus": lambda x, mask: EntropyBonus(0.3, 0.7, 1)(x, TAU, mask),
    "CodeDiversity": lambda x, mask: CodeDiversity(0.1, 1)(x, mask=mask),
    "commitment_loss": lambda x, mask: commitment_loss(x, 0.5 * x, mask),
}
MASK = torch.arange(7) < torch.tensor([7, 0, 3, 1]).unsqueeze(1)  # (4, 7): sequences of different lengths
every = pytest.mark.parametrize("name", LOSSES)


def logits(dtype: torch.dtype = torch.float32) -> Tensor:
    """Of two codebooks, (4, 7, 2, 5), not a number at padding."""
    x = torch.randn(4, 7, 2, 5, generator=seeded(0)).to(dtype)
    x[0, 0, 0, 1] = -30.0
    x[~MASK] = math.nan
    return x.requires_grad_()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_padding_does_not_count(name: str, dtype: torch.dtype) -> None:
    masked, alone = logits(dtype), logits(dtype).detach()[MASK].requires_grad_()
    value, expected = LOSSES[name](masked, MASK), LOSSES[name](alone, None)
    assert value.dtype == expected.dtype
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)
    value.square().sum().backward()
    expected.square().sum().backward()
    assert not masked.grad[~MASK].any()
    torch.testing.assert_close(masked.grad[MASK], alone.grad, rtol=4 * torch.finfo(dtype).eps, atol=1e-6)
    assert alone.grad.any()


@every
def test_a_mask_of_whole_sequences(name: str) -> None:
    whole, x = torch.tensor([True, False, True, True]), torch.nan_to_num(logits())
    torch.testing.assert_close(LOSSES[name](x, whole), LOSSES[name](x[whole], None), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(LOSSES[name](x, whole | True), LOSSES[name](x, None), rtol=1e-6, atol=1e-6)


@every
@pytest.mark.parametrize("empty", [False, True], ids=["all padding", "no tokens"])
def test_without_a_token_the_loss_is_zero(name: str, empty: bool) -> None:
    x, mask = (torch.zeros(0, 7, 2, 5), None) if empty else (torch.full((4, 7, 2, 5), math.nan), MASK & False)
    x.requires_grad_()
    value = LOSSES[name](x, mask)
    assert not value.any()
    value.sum().backward()
    assert not x.grad.any()


def test_the_gradient_of_a_temperature_does_not_see_padding() -> None:
    gradients = []
    for x, mask in ((logits(), MASK), (logits().detach()[MASK], None)):
        tau = torch.tensor(0.7, requires_grad=True)
        EntropyBonus(0.3, 0.7, 1)(x, tau, mask).backward()
        gradients.append(tau.grad)
    torch.testing.assert_close(*gradients)


def test_codes_of_padding_may_be_anything() -> None:
    vectors, codes = logits(), logits().detach() * 2
    commitment_loss(vectors, codes, MASK).backward()
    assert vectors.grad.isfinite().all()


@every
@pytest.mark.parametrize("mask", [MASK.int(), MASK.T, MASK[:, :-1]], ids=["numbers", "transposed", "short"])
def test_other_masks_are_refused(name: str, mask: Tensor) -> None:
    with pytest.raises(ValueError, match=r"a mask is bool, True at real positions, of shape \(4, 7"):
        LOSSES[name](logits(), mask)


def test_a_term_of_weight_zero_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    module = "discrete_lightning.layers.entropy_bonus"
    monkeypatch.setattr(f"{module}.choice_entropy", lambda *_: asked.append("choice") or torch.zeros(()))
    monkeypatch.setattr(f"{module}.marginal_entropy", lambda *_: asked.append("marginal") or torch.zeros(()))
    bonus = EntropyBonus()
    assert bonus(torch.zeros(3, 2)) == 0
    bonus.choice.set(0.5)  # as WeightAnnealing does
    bonus(torch.zeros(3, 2))
    assert asked == ["choice"]
    bonus.marginal.set(0.5)
    bonus(torch.zeros(3, 2))
    assert asked == ["choice", "choice", "marginal"]
