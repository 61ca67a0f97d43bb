"""Logits of a fixed scale: what is divided by, and that larger logits earn nothing."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.control.logit_norm import LogitNorm
from tests.ranks import run_on_ranks


def _logits(seed: int = 0, masked: bool = True) -> Tensor:
    logits = 3 * torch.randn(10, 2, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if masked:
        logits[::2, 0, 3] = -torch.inf
    return logits


def _by_own_scale(logits: Tensor) -> Tensor:
    """Centred logits over their own root mean square, by autograd alone."""
    allowed = ~logits.isneginf()
    finite = torch.where(allowed, logits, 0.0)
    mean = finite.sum(-1, keepdim=True) / allowed.sum(-1, keepdim=True)
    centred = torch.where(allowed, finite - mean, 0.0)
    r = (centred.square().sum() / allowed.sum()).sqrt()
    return torch.where(allowed, centred / r, -torch.inf)


def _some_loss(normed: Tensor) -> Tensor:
    p = (normed / 0.7).softmax(-1)
    return (p[..., 0] * torch.linspace(-1, 2, 20, dtype=p.dtype).view(10, 2)).sum()


@pytest.mark.parametrize("masked", [False, True])
def test_after_an_update_value_and_gradient_are_those_of_the_batchs_own_scale(masked: bool) -> None:
    norm, ours, theirs = LogitNorm(), *(_logits(masked=masked).requires_grad_() for _ in range(2))
    norm.update(ours)
    found, expected = norm(ours), _by_own_scale(theirs)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    _some_loss(found).backward()
    _some_loss(expected).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_a_larger_scale_earns_nothing() -> None:
    norm, logits = LogitNorm(), _logits(masked=False)
    norm.update(logits)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(_some_loss(norm(logits * scale)), scale)
    assert abs(slope.item()) < 1e-9


def test_between_updates_the_scale_is_constant() -> None:
    norm, logits = LogitNorm(), _logits()
    norm.update(logits)
    held = norm.root_mean_square.clone()
    again = norm(2 * logits.requires_grad_())
    finite = ~again.isneginf()
    torch.testing.assert_close(again[finite], 2 * norm(logits)[finite])
    torch.testing.assert_close(
        norm(logits[:3])[finite[:3]], norm(logits)[:3][finite[:3]]
    )  # whatever else is in the batch
    assert torch.equal(norm.root_mean_square, held)


def test_states_that_do_not_count_are_left_out() -> None:
    norm, other, logits = LogitNorm(), LogitNorm(), _logits().view(5, 2, 2, 4)
    counted = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    norm.update(logits, counted)
    other.update(logits[counted])
    assert norm.root_mean_square.item() == pytest.approx(other.root_mean_square.item()) != 1


def test_equal_logits_stay_equal() -> None:
    norm, logits = LogitNorm(), torch.zeros(3, 1, 2, requires_grad=True)
    norm.update(logits)
    found = norm(logits)
    found.sum().backward()
    assert not found.any()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def _on_a_rank(logits: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    rank = torch.distributed.get_rank()
    own = logits.split(sizes)[rank].clone().requires_grad_()
    norm = LogitNorm()
    norm.update(own)
    found = norm(own)
    weights = torch.linspace(-1, 2, 20, dtype=logits.dtype).view(10, 2).split(sizes)[rank]
    (2 * ((found / 0.7).softmax(-1)[..., 0] * weights).sum()).backward()  # world size times, as for a mean over ranks
    assert own.grad is not None
    return found.detach(), own.grad / 2, norm.root_mean_square


@pytest.mark.parametrize("sizes", [[5, 5], [10, 0]], ids=str)
def test_two_ranks_are_one(sizes: list[int]) -> None:
    norm, logits = LogitNorm(), _logits().requires_grad_()
    norm.update(logits)
    found = norm(logits)
    _some_loss(found).backward()
    assert logits.grad is not None
    parts = run_on_ranks(_on_a_rank, logits.detach(), sizes)
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), found.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), logits.grad, rtol=1e-5, atol=1e-7)
