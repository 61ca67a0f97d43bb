import itertools
import math

import pytest
import torch

from discrete_lightning.vq.functional import finite_scalar, finite_scalar_decode, finite_scalar_residual

LEVELS = [[3], [2], [8, 5, 5, 5], [7, 5, 5, 5, 5], [2, 3, 4], [255, 2]]


def reference(z: list[float], levels: list[int]) -> tuple[list[float], int]:
    """Values and index of one vector, by the paper's formulas (two levels: a threshold at 0)."""
    values, index, place = [], 0, 1
    for x, level in zip(z, levels, strict=True):
        half, offset = (level - 1) * 1.001 / 2, 0.0 if level % 2 else 0.5
        shift = math.atanh(offset / half) if level > 2 else 0.0
        digit = round(math.tanh(x + shift) * half - offset)
        values.append(digit / (level // 2))
        index += (digit + level // 2) * place
        place *= level
    return values, index


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_against_the_formulas(levels: list[int]) -> None:
    z = 2 * torch.randn(300, len(levels), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = finite_scalar(z, levels)
    expected = [reference(row, levels) for row in z.tolist()]
    assert result.indices.tolist() == [index for _, index in expected]
    assert result.values.tolist() == [values for values, _ in expected]


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_every_code_is_reached_and_decoded_to_itself(levels: list[int]) -> None:
    count = math.prod(levels)
    values = finite_scalar_decode(torch.arange(count), levels)
    assert len(values.unique(dim=0)) == count
    assert values.abs().max() <= 1
    halves = torch.tensor([(level - 1) * 1.001 / 2 for level in levels])
    offsets = torch.tensor([0.0 if level % 2 else 0.5 for level in levels])
    even = [level % 2 == 0 and level > 2 for level in levels]
    shifts = torch.tensor([math.atanh(0.5 / half) if e else 0.0 for e, half in zip(even, halves.tolist(), strict=True)])
    widths = torch.tensor([float(level // 2) for level in levels])
    z = torch.atanh(((values * widths + offsets) / halves).clamp(-0.9995, 0.9995)) - shifts
    result = finite_scalar(z, levels)
    assert torch.equal(result.indices, torch.arange(count))
    assert torch.equal(result.values, values)


def test_gradient_is_that_of_the_bounded_vectors() -> None:
    levels = [8, 5, 3]
    z = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    g = torch.randn(20, 3, dtype=torch.float64)
    finite_scalar(z, levels).values.backward(g)
    for i, j in itertools.product(range(20), range(3)):
        half, offset = (levels[j] - 1) * 1.001 / 2, 0.0 if levels[j] % 2 else 0.5
        shift = math.atanh(offset / half)
        slope = half * (1 - math.tanh(z[i, j].item() + shift) ** 2) / (levels[j] // 2)
        assert z.grad[i, j].item() == pytest.approx(g[i, j].item() * slope, rel=1e-9)  # type: ignore[index]


@pytest.mark.parametrize("levels", [[5], [8], [3, 4]], ids=str)
def test_a_second_stage_refines_the_cells_of_the_first(levels: list[int]) -> None:
    z = torch.randn(2000, len(levels), dtype=torch.float64) * 0.7
    halves = torch.tensor([(level - 1) * 1.001 / 2 for level in levels], dtype=torch.float64)
    offsets = torch.tensor([0.0 if level % 2 else 0.5 for level in levels], dtype=torch.float64)
    widths = torch.tensor([float(level // 2) for level in levels], dtype=torch.float64)
    bounded = (torch.tanh(z + torch.atanh(offsets / halves)) * halves - offsets) / widths
    coarse = finite_scalar(z, levels).values
    fine = finite_scalar(finite_scalar_residual(z, coarse, levels), levels).values
    first, second = (bounded - coarse).abs(), (bounded - coarse - fine / (2 * widths)).abs()
    assert second.mean() < 0.45 * first.mean()
    assert second.max() <= first.max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtypes_and_empty(dtype: torch.dtype) -> None:
    result = finite_scalar(torch.zeros(0, 4, 2, dtype=dtype), [3, 5])
    assert result.values.dtype == dtype
    assert result.indices.shape == (0, 4)


@pytest.mark.parametrize("levels", [[], [1, 3], [0], [2.5, 3], [True, 3], ["3"], [-3]])
def test_bad_levels(levels: list[int]) -> None:
    with pytest.raises(ValueError, match="levels must be integers > 1"):
        finite_scalar(torch.zeros(3, max(1, len(levels))), levels)


def test_other_errors() -> None:
    with pytest.raises(ValueError, match=r"2 levels .* got \(5, 3\)"):
        finite_scalar(torch.zeros(5, 3), [3, 3])
    with pytest.raises(ValueError, match="int64"):
        finite_scalar(torch.zeros(5, 64), [3] * 64)
