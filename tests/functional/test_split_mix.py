"""Chi-square tests fail true draws with probability 1e-4, intervals are 5 sigma (6e-7), for seeds fixed in advance."""

import hashlib
import math
from functools import partial

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from discrete_lightning.functional import gumbel_noise, gumbel_softmax
from discrete_lightning.functional._split_mix import SplitMix
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded


def integers(seed: int, start: int, count: int) -> Tensor:
    return SplitMix(seed).fill_(torch.empty(count), start)


def reference(seed: int, position: int) -> int:
    """The integer at one position, by Python's integers."""
    digest = hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=16).digest()
    key, gamma = (int.from_bytes(half, "little") for half in (digest[:8], digest[8:]))
    gamma |= 1
    if (gamma ^ gamma >> 1).bit_count() < 24:
        gamma ^= 0xAAAAAAAAAAAAAAAA
    word = (key + position // 2 * gamma) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    word ^= word >> 31
    half = word >> 32 if position % 2 else word % 2**32
    return half - 2**32 * (half >= 2**31)


@pytest.mark.parametrize("seed", [0, 5, 2**62 - 1])
def test_integers_are_those_of_the_paper(seed: int) -> None:
    for position in (0, 1, 2, 2**15 - 1, 2**15, 2**15 + 1, 10**12 + 1):
        (found,) = integers(seed, position, 1).tolist()
        assert found == torch.tensor(float(reference(seed, position))).item()


def test_an_integer_depends_on_its_position_alone() -> None:
    whole = integers(3, 0, 200_001)
    for start, stop in ((0, 0), (0, 1), (1, 2), (1, 70_000), (32_767, 32_770), (65_537, 200_001), (199_999, 200_001)):
        assert torch.equal(integers(3, start, stop - start), whole[start:stop])


def test_bits_are_even_and_independent() -> None:
    n = 1 << 20
    x = integers(7, 0, n).double().long() + 2**31  # 24 bits of each survive as float32: the upper ones
    for shift in (28, 24, 16):
        counts = torch.bincount((x >> shift) % 16, minlength=16)
        assert chi_square_p(counts, torch.full((16,), 1 / 16, dtype=torch.float64)) > 1e-4
    u = x.double() / 2**32 - 0.5
    for lag in (1, 2, 3, 1 << 15, 1 << 16):  # also from one piece of the cache's size to the next
        assert abs((u[lag:] * u[:-lag]).mean() * 12) < 5 / math.sqrt(n - lag)
    for other in (8, 7 + 2**32):
        v = integers(other, 0, n).double() / 2**32
        assert abs((u * v).mean() * 12) < 5 / math.sqrt(n)


@pytest.mark.parametrize("shape", [(3, 100_001), (70_000, 5), (2, 3, 50_000), (1, 300_000)])
def test_large_samples_have_the_noise_of_a_noise_tensor(shape: tuple[int, ...]) -> None:
    """However rows are divided into blocks, and where the temperature is learned, too."""
    logits = torch.randn(shape, generator=seeded(0))
    noise = gumbel_noise(shape, generator=seeded(1))
    for tau in (0.7, torch.tensor(0.7, requires_grad=True)):
        sample = gumbel_softmax(logits, tau, generator=seeded(1))
        torch.testing.assert_close(sample, torch.softmax((logits + noise) / 0.7, -1))


def test_large_noise_differs_from_call_to_call_and_follows_the_seed() -> None:
    shape, generator = (600, 1000), seeded(2)
    first, second = gumbel_noise(shape, generator=generator), gumbel_noise(shape, generator=generator)
    assert not (first == second).all(-1).any()
    assert torch.equal(gumbel_noise(shape, generator=seeded(2)), first)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        one, other = gumbel_noise(shape), gumbel_noise(shape)
        torch.manual_seed(3)
        assert torch.equal(gumbel_noise(shape), one)
        assert not torch.equal(one, other)


def test_checkpointed_large_samples_have_the_same_noise_again() -> None:
    logits, weights = leaf(torch.randn(600, 1000, generator=seeded(5))), torch.randn(600, 1000, generator=seeded(6))
    gradients = []
    for run in (gumbel_softmax, partial(checkpoint, gumbel_softmax, use_reentrant=False)):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            (run(logits, 0.7) * weights).sum().backward()
        gradients.append(logits.grad)
        logits.grad = None
    assert torch.equal(*gradients)


def test_large_noise_on_the_cpu_beside_another_default_device() -> None:
    with torch.device("meta"):
        noise = gumbel_noise((600, 1000), device="cpu", generator=seeded(8))
    assert torch.equal(noise, gumbel_noise((600, 1000), generator=seeded(8)))


@pytest.mark.parametrize("shape", [(3, 4), (600, 1000)])
def test_fake_noise_has_a_shape(shape: tuple[int, ...]) -> None:
    with FakeTensorMode():
        assert gumbel_noise(shape).shape == shape


def test_rare_values_of_large_noise_come_at_their_rate() -> None:
    """P(G > 13) = 2.26e-6: 2^26 draws hold about 152."""
    generator, n, found, largest = seeded(4), 1 << 23, 0, 0.0
    for _ in range(8):
        noise = gumbel_noise((n,), generator=generator)
        found, largest = found + int((noise > 13).sum()), max(largest, float(noise.max()))
    expected = 8 * n * -math.expm1(-math.exp(-13))
    assert abs(found - expected) < 5 * math.sqrt(expected)
    assert largest > 15
