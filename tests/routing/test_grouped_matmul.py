"""Products of sorted rows, by each way that computes them, against a loop in the same dtype."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.routing.functional import grouped_matmul
from discrete_lightning.routing.functional.grouped_matmul import fits_torch, in_blocks, outer_in_blocks
from tests.references.inputs import seeded

ENDS = {
    "some": [3, 3, 10, 150, 200],
    "empty": [0, 0, 0, 0, 0],
    "one": [0, 0, 210, 210, 210],
    "all": [50, 90, 91, 200, 210],
}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}


def int32(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def loop(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    parts, start = [], 0
    for group, end in enumerate(ends.tolist()):
        parts.append(x[start:end] @ weight[group])
        start = end
    return torch.cat([*parts, x.new_zeros(len(x) - start, weight.shape[2])])


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("sizes", [(8, 16), (5, 7)], ids=["aligned", "odd"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_way_is_a_loop_over_groups(dtype: torch.dtype, sizes: tuple[int, int], ends: str) -> None:
    d, h = sizes
    generator, bounds = seeded(0), int32(*ENDS[ends])
    x = torch.randn(210, d, generator=generator).to(dtype).requires_grad_()
    weight = (torch.randn(5, d, h, generator=generator) / d**0.5).to(dtype).requires_grad_()
    v = torch.randn(210, h, generator=generator).to(dtype)
    assert fits_torch(x, weight) == (dtype != torch.float64 and sizes == (8, 16))
    results = []
    for way in (loop, grouped_matmul):
        y = way(x, weight, bounds)
        results.append((y, *torch.autograd.grad((y * v).sum(), (x, weight))))
    blocks = in_blocks(v, weight.transpose(1, 2), bounds), outer_in_blocks(x, v, bounds)
    results.append((in_blocks(x, weight, bounds), *blocks))
    for found in results[1:]:
        for value, expected in zip(found, results[0], strict=True):
            bound = TOLERANCE[dtype] * (1 + float(expected.detach().abs().max()))
            torch.testing.assert_close(value, expected, rtol=TOLERANCE[dtype], atol=bound)


def test_rows_of_no_group_are_zero_and_no_garbage_comes_back() -> None:
    x = torch.full((64, 8), torch.nan)
    x[:2] = 1.0
    x.requires_grad_()
    weight = torch.ones(2, 8, 8, requires_grad=True)
    y = grouped_matmul(x, weight, int32(1, 2))
    y.sum().backward()
    assert y[:2].eq(8).all()
    assert y[2:].eq(0).all()
    assert x.grad is not None
    assert x.grad[2:].eq(0).all()
    assert weight.grad is not None
    assert weight.grad.eq(1).all()


def test_gradients_of_first_and_second_order() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    weight = torch.randn(3, 3, 2, dtype=torch.float64, generator=seeded(2)).requires_grad_()

    def product(x: Tensor, weight: Tensor) -> Tensor:
        return grouped_matmul(x, weight, int32(1, 1, 4))

    assert torch.autograd.gradcheck(product, (x, weight))
    assert torch.autograd.gradgradcheck(product, (x, weight))


def test_no_row() -> None:
    x, weight = torch.zeros(0, 8, requires_grad=True), torch.ones(2, 8, 4, requires_grad=True)
    y = grouped_matmul(x, weight, int32(0, 0))
    y.sum().backward()
    assert y.shape == (0, 4)
    assert weight.grad is not None
    assert weight.grad.eq(0).all()


def test_autocast_decides_the_dtype() -> None:
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(2, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = grouped_matmul(x, weight, int32(2, 4))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("x", "weight", "ends", "message"),
    [
        (torch.ones(3, 2), torch.ones(2, 3, 4), int32(1, 3), r"rows \(M, d\).*got \(3, 2\), \(2, 3, 4\)"),
        (torch.ones(3, 2), torch.ones(2, 2, 4), torch.tensor([1, 3]), r"int32 ends \(N,\).*torch.int64"),
        (torch.ones(3, 2), torch.ones(2, 2, 4, dtype=torch.float64), int32(1, 3), "one dtype"),
        (torch.ones(3, 2, dtype=torch.int64), torch.ones(2, 2, 4), int32(1, 3), "must be floating"),
    ],
)
def test_bad_input(x: Tensor, weight: Tensor, ends: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grouped_matmul(x, weight, ends)
