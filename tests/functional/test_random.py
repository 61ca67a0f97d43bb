"""Every p-value bound below is 1e-4 and every interval 5 standard deviations (6e-7), for seeds fixed in advance."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional._random import TracedGenerator, draw_seed, uniform
from discrete_lightning.functional.gumbel import traced_exponential
from tests.references.goodness_of_fit import chi_square_p, sigmas, uniform_p
from tests.references.inputs import seeded


def traced(seed: int = 0, number: int = 0) -> Any:
    return TracedGenerator(torch.tensor(seed), number)


def mix(z: int) -> int:
    """Vigna's C code of SplitMix64, in Python's integers."""
    mask = 2**64 - 1
    z &= mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (1, 0), (2**61 + 12345, 7)])
def test_bits_are_those_of_the_formula(seed: int, number: int) -> None:
    generator, key = traced(seed, number), mix(mix(seed) + number)
    expected = [mix(mix(key ^ n) + key) for n in range(6)]
    assert generator.bits((2, 2), 31).flatten().tolist() == [word >> 33 for word in expected[:4]]
    assert generator.bits((2,), 63).tolist() == [word >> 1 for word in expected[4:]]


@pytest.mark.parametrize("number", [0, 1])
def test_every_bit_and_every_byte_is_uniform(number: int) -> None:
    bits = traced(1, number).bits((1_000_000,), 56)
    for start in range(0, 56, 8):
        counts = ((bits >> start) & 255).bincount(minlength=256)
        assert chi_square_p(counts, torch.full((256,), 1 / 256)) > 1e-4


def streams() -> list[tuple[Tensor, Tensor]]:
    """Pairs that must be independent: numbers, seeds and draws beside each other."""
    size, first = (1_000_000,), traced(3, 0)
    one = uniform(size, dtype=torch.float64, device=None, generator=first)
    others = [traced(3, 1), traced(3, 2), traced(4, 0), traced(2, 1), first]
    return [(one, uniform(size, dtype=torch.float64, device=None, generator=each)) for each in others]


def test_streams_beside_each_other_are_independent() -> None:
    for one, other in streams():
        for lag in (0, 1, 2):
            products = 12 * (one[lag:] - 0.5) * (other[: len(other) - lag] - 0.5)
            assert abs(products.mean()) < 5 / len(products) ** 0.5
        cells = ((one * 16).long() * 16 + (other * 16).long()).bincount(minlength=256)
        assert chi_square_p(cells, torch.full((256,), 1 / 256)) > 1e-4
        assert not torch.isin(one[:1000], other).any()


def test_exponential_noise_of_a_traced_generator() -> None:
    noise = traced_exponential((1_000_000,), None, traced(5))
    assert uniform_p(-torch.expm1(-noise.double())) > 1e-4


def test_the_tail_of_a_traced_generator_passes_24_bits() -> None:
    """The smallest of 2^31 steps are seen: in 3e7 draws about 9 are below 3e-7, and those differ."""
    generator = traced(6)
    small = torch.cat([(e := traced_exponential((3_000_000,), None, generator))[e < 3e-6] for _ in range(10)])
    assert sigmas(len(small), 30_000_000, 3e-6) < 5
    assert len(small.unique()) == len(small)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_is_at_least_0_and_below_1(dtype: torch.dtype) -> None:
    class Largest(TracedGenerator):
        def bits(self, shape: object, number: int) -> Tensor:
            return torch.tensor([0, 2**number - 1])

    low, high = uniform((2,), dtype=dtype, device=None, generator=Largest(torch.tensor(0), 0))
    assert low == 0
    assert 1 - 2e-7 < high < 1
    u = uniform((100_000,), dtype=dtype, device=None, generator=traced(7))
    assert u.dtype == dtype
    assert uniform_p(u) > 1e-4


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
def test_compiled_bits_are_those_of_eager_ones() -> None:
    def draw(seed: Tensor) -> Tensor:
        return traced_exponential((1001,), None, TracedGenerator(seed, 1)).log()  # type: ignore[arg-type]

    torch.testing.assert_close(torch.compile(draw, fullgraph=True)(torch.tensor(8)), draw(torch.tensor(8)))


def test_a_seed_depends_on_the_generator_and_moves_it_on() -> None:
    for make in (seeded, traced):
        generator = make(9)
        first, second = int(draw_seed(generator)), int(draw_seed(generator))
        assert first != second
        assert int(draw_seed(make(9))) == first
        assert int(draw_seed(make(10))) != first
        assert 0 <= first < 2**62


class OnAccelerator:
    """A generator whose numbers are made on a device: only its state may be read."""

    device = torch.device("cuda")

    def __init__(self, seed: int) -> None:
        self.generator = seeded(seed)

    def get_state(self) -> Tensor:
        return self.generator.get_state()


def test_the_seed_of_an_accelerator_s_generator_is_not_read_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(size: int, device: torch.device) -> OnAccelerator:
        return given

    def first_and_second(seed: int) -> tuple[int, int]:
        nonlocal given
        given = OnAccelerator(seed)
        return int(draw_seed(given)), int(draw_seed(given))  # type: ignore[arg-type]

    given = OnAccelerator(0)
    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(
        OnAccelerator, "uniform_", lambda self, generator: torch.rand(1, generator=generator.generator), raising=False
    )
    assert first_and_second(9) == first_and_second(9)
    assert len({*first_and_second(9), *first_and_second(10)}) == 4
