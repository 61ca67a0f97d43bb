"""Generalised advantages against loops of Python's floats: ends, time limits, rows that do not count."""

from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.control.advantage import generalized_advantage
from tests.references.advantages import naive_advantages


def _case(steps: int, number: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Rewards, values, next values, terminated, truncated and counted; some rows end in both ways at once."""
    generator = torch.Generator().manual_seed(seed)
    numbers = [torch.randn(steps, number, generator=generator, dtype=dtype) for _ in range(3)]
    flags = [torch.rand(steps, number, generator=generator) < share for share in (0.1, 0.1)]
    both = torch.rand(steps, number, generator=generator) < 0.05
    terminated, truncated = flags[0] | both, flags[1] | both
    ended = terminated | truncated
    counted = torch.cat([torch.ones_like(ended[:1]), ~ended[:-1]])  # as in mode NEXT_STEP: the row after an end
    return [*numbers, terminated & counted, truncated & counted, counted]


@pytest.mark.parametrize("lambda_", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize(("steps", "number"), [(1, 1), (1, 5), (7, 5), (33, 1), (33, 5), (500, 2)])
def test_equal_to_a_loop(steps: int, number: int, gamma: float, lambda_: float) -> None:
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-4)):
        *numbers, terminated, truncated, counted = _case(steps, number, steps, dtype)
        found = generalized_advantage(*numbers, terminated, truncated, gamma, lambda_, counted)
        expected = naive_advantages(*numbers, terminated, truncated, counted, gamma, lambda_)
        assert found.advantages.dtype == dtype
        for ours, reference in zip(found, expected, strict=True):
            torch.testing.assert_close(
                ours.double(), torch.tensor(reference, dtype=torch.float64), atol=tolerance, rtol=tolerance
            )


def test_without_a_mask_all_rows_count() -> None:
    *numbers, terminated, truncated, counted = _case(33, 5)
    every = torch.ones_like(counted)
    plain = generalized_advantage(*numbers, terminated, truncated, 0.9, 0.9)
    masked = generalized_advantage(*numbers, terminated, truncated, 0.9, 0.9, every)
    assert all(torch.equal(*pair) for pair in zip(plain, masked, strict=True))


def test_a_time_limit_is_no_end() -> None:
    one, no = torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.bool)
    cut = generalized_advantage(one, 0 * one, 10 * one, no, ~no, 0.9, 0.95).targets
    end = generalized_advantage(one, 0 * one, 10 * one, ~no, no, 0.9, 0.95).targets
    both = generalized_advantage(one, 0 * one, 10 * one, ~no, ~no, 0.9, 0.95).targets
    assert [each.item() for each in (cut, end, both)] == pytest.approx([10.0, 1.0, 1.0])


def test_the_next_episode_does_not_reach_back() -> None:
    rewards = torch.tensor([[1.0], [1.0], [1e6]])
    zero, no = torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.bool)
    for flags in ([1, 0], [0, 1]):
        at = torch.tensor([[False], [True], [False]])
        terminated, truncated = (at if flag else no for flag in flags)
        found = generalized_advantage(rewards, zero, zero, terminated, truncated, 1.0, 1.0).advantages
        assert found.flatten().tolist() == [2.0, 1.0, 1e6]


def test_values_of_rows_that_do_not_count_change_nothing() -> None:
    *numbers, terminated, truncated, counted = _case(33, 5)
    other = [torch.where(counted, each, torch.nan) for each in numbers]
    found = generalized_advantage(*numbers, terminated, truncated, 0.9, 0.9, counted)
    again = generalized_advantage(*other, terminated, truncated, 0.9, 0.9, counted)
    assert all(torch.equal(*pair) for pair in zip(found, again, strict=True))
    assert not found.advantages[~counted].any()
    assert not found.targets[~counted].any()


def test_the_value_after_an_end_may_be_anything() -> None:
    *numbers, terminated, truncated, counted = _case(33, 5)
    wild = torch.where(terminated, torch.inf, numbers[2])
    found = generalized_advantage(*numbers[:2], wild, terminated, truncated, 0.9, 0.9, counted)
    assert bool(found.advantages.isfinite().all())


def test_bfloat16_is_computed_in_float32_and_no_gradient_passes() -> None:
    *numbers, terminated, truncated, counted = _case(33, 5)
    narrow = [each.bfloat16().requires_grad_() for each in numbers]
    found = generalized_advantage(*narrow, terminated, truncated, 0.9, 0.9, counted)
    wide = generalized_advantage(*(each.float() for each in narrow), terminated, truncated, 0.9, 0.9, counted)
    assert torch.equal(found.advantages, wide.advantages)
    assert found.advantages.dtype == torch.float32
    assert not found.targets.requires_grad


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"values": torch.zeros(2, 2)}, r"all are \(steps, environments\)"),
        ({"rewards": torch.zeros(3), "values": torch.zeros(3)}, "all are"),
        ({"terminated": torch.zeros(3, 1)}, "are bool"),
        ({"counted": torch.ones(3, 1)}, "are bool"),
        ({"gamma": 1.1}, r"in \[0, 1\], got 1.1"),
        ({"lambda_": -0.1}, r"in \[0, 1\]"),
        ({"gamma": float("nan")}, r"in \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], text: str) -> None:
    zero, no = torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.bool)
    good: dict[str, Any] = {
        "rewards": zero, "values": zero, "next_values": zero, "terminated": no, "truncated": no, "counted": ~no
    }  # fmt: skip
    with pytest.raises(ValueError, match=text):
        generalized_advantage(**good | change)
