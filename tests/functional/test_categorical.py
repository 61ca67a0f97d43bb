"""Chi-square tests fail true draws with probability 1e-4, intervals are 5 sigma (6e-7), for seeds fixed in advance."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from discrete_lightning.functional import categorical
from discrete_lightning.functional.categorical import running_sum
from tests.harness.device import PretendDevice
from tests.references.goodness_of_fit import chi_square_p, sigmas
from tests.references.inputs import seeded

SIZES = [1, 2, 31, 32, 33, 64, 100, 1000]
MODULE = sys.modules["discrete_lightning.functional.categorical"]
each_size = pytest.mark.parametrize("categories", SIZES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def some_weights(categories: int, dtype: torch.dtype) -> Tensor:
    """Unnormalised, of sizes that differ a thousandfold; of many, every third one 0, and the first and the last."""
    weights = 700 * torch.rand(categories, generator=seeded(1), dtype=dtype) ** 3
    if categories > 2:
        weights[::3] = weights[-1] = 0
    return weights


def fits(index: Tensor, weights: Tensor) -> bool:
    if len(weights) == 1:
        return not index.any()
    return chi_square_p(index.bincount(minlength=len(weights)), weights.double() / weights.double().sum()) > 1e-4


@each_size
@each_dtype
def test_draws_follow_the_weights(categories: int, dtype: torch.dtype) -> None:
    weights, draws = some_weights(categories, dtype), 20_000 if categories == 1000 else 100_000
    index = categorical(weights.expand(draws, categories), generator=seeded(2))
    assert (index.shape, index.dtype) == ((draws,), torch.int64)
    assert fits(index, weights)


@pytest.mark.parametrize("categories", [2, 33, 100])
def test_traced_draws_follow_the_weights(categories: int) -> None:
    weights, draws = some_weights(categories, torch.float32), 50_000
    torch.manual_seed(3)
    index = torch.func.vmap(categorical, randomness="different")(weights.expand(draws, categories))
    assert fits(index, weights)


@each_dtype
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_every_row_has_its_own_weights_and_scale(dtype: torch.dtype, scale: float) -> None:
    weights = scale * torch.rand(3, 4, 70, generator=seeded(4), dtype=dtype)
    index = categorical(weights.expand(5_000, 3, 4, 70), generator=seeded(5))
    assert index.shape == (5_000, 3, 4)
    for row, drawn in zip(weights.view(12, 70), index.view(-1, 12).T, strict=True):
        assert fits(drawn, row)


def test_rows_are_independent() -> None:
    """Neighbours agree as often as independent fair coins: 5 sigma."""
    index = categorical(torch.full((200_000, 64), 1 / 64), generator=seeded(6))
    block, inside = index // 32, index % 32
    assert sigmas(int((block[1:] == block[:-1]).sum()), 199_999, 1 / 2) < 5
    assert sigmas(int((inside[1:] == inside[:-1]).sum()), 199_999, 1 / 32) < 5
    assert sigmas(int((block == inside // 16).sum()), 200_000, 1 / 2) < 5


@pytest.mark.parametrize("categories", [2, 100, 1000])
@pytest.mark.parametrize("position", ["first", "last"])
def test_a_rare_event_comes_at_its_rate(categories: int, position: str) -> None:
    """p = 1e-4: about 50 events, or 10."""
    weights = torch.full((categories,), (1 - 1e-4) / (categories - 1))
    rare = 0 if position == "first" else categories - 1
    weights[rare] = 1e-4
    draws = 500_000 if categories < 1000 else 100_000
    generator, events = seeded(7), 0
    for _ in range(10):
        events += int((categorical(weights.expand(draws // 10, categories), generator=generator) == rare).sum())
    assert sigmas(events, draws, 1e-4) < 5


@each_size
@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2.0**-24, 1 - 2.0**-53])
def test_a_weight_of_zero_is_never_drawn_at_the_ends_of_the_noise(
    categories: int, u: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "uniform", lambda shape, **_: torch.full(shape, u, dtype=torch.float64))
    for only in {0, categories // 2, categories - 1}:
        weights = torch.zeros(1, categories)
        weights[0, only] = 0.3
        assert categorical(weights).item() == only
    weights = some_weights(categories, torch.float32)
    assert weights[categorical(weights)] > 0


@each_size
def test_the_generator_decides(categories: int) -> None:
    weights = torch.rand(500, categories, generator=seeded(8))
    state = torch.get_rng_state()
    first, again, other = (categorical(weights, generator=seeded(seed)) for seed in (9, 9, 10))
    assert torch.equal(first, again)
    assert categories == 1 or not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    by_default = categorical(weights)
    torch.manual_seed(9)
    assert torch.equal(by_default, categorical(weights))


@each_size
def test_layouts(categories: int) -> None:
    weights = torch.rand(categories, 50, generator=seeded(11)).T
    assert torch.equal(
        categorical(weights, generator=seeded(12)), categorical(weights.contiguous(), generator=seeded(12))
    )


def test_any_shape_of_batch_and_no_gradient() -> None:
    for shape in ((4,), (0, 4), (2, 0, 40), (2, 3, 40), (5, 1)):
        index = categorical(torch.ones(shape, requires_grad=True))
        assert index.shape == shape[:-1]
        assert not index.requires_grad


class NoFloatCumsum(TorchDispatchMode):
    """What torch.use_deterministic_algorithms(True) does on CUDA."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket is torch.ops.aten.cumsum and args[0].is_floating_point():
            raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation")
        return function(*args, **(kwargs or {}))


@each_size
@each_dtype
def test_draws_on_cuda_have_a_deterministic_algorithm(categories: int, dtype: torch.dtype) -> None:
    weights, draws = some_weights(categories, dtype), 10_000 if categories == 1000 else 50_000
    many = weights.expand(draws, categories).contiguous()
    torch.manual_seed(13)
    with NoFloatCumsum(), PretendDevice("cuda") as device:
        index = categorical(many)
    assert not device.reads
    assert fits(index, weights)


@each_dtype
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_running_sums_of_whole_numbers(dtype: torch.dtype, scale: float) -> None:
    weights = scale * torch.rand(50, 32, generator=seeded(14), dtype=dtype)
    weights[:, ::5] = weights[:, -1] = 0
    with PretendDevice("cuda"):
        whole = running_sum(weights)
    share, exact = whole.double() / whole[:, -1:].double(), weights.double().cumsum(-1) / weights.double().sum(-1, True)
    torch.testing.assert_close(share, exact, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-13)
    assert torch.equal(whole.diff(dim=-1) == 0, weights[:, 1:] == 0)
