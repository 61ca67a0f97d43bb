from itertools import pairwise

import pytest
import torch
from torch import Tensor

from discrete_lightning.vq.functional import kmeans
from tests.references import codebook as naive
from tests.references.inputs import seeded


def blobs(n: int = 300, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=seeded(1)) + 3 * torch.randint(3, (n, 1), generator=seeded(2))


def test_centres_start_at_distinct_vectors() -> None:
    vectors = torch.arange(20.0)[:, None]
    centres, counts = kmeans(vectors, 20, iterations=0, generator=seeded())
    assert sorted(centres.flatten().tolist()) == vectors.flatten().tolist()
    assert counts.tolist() == [1] * 20


def test_each_centre_ends_as_the_mean_of_its_vectors() -> None:
    vectors = blobs()
    centres, counts = kmeans(vectors, 6, iterations=100, generator=seeded())
    expected_counts, sums = naive.statistics(vectors, naive.nearest(vectors, centres), 6)
    assert centres.dtype == counts.dtype == torch.float32
    torch.testing.assert_close(counts.double(), expected_counts)
    torch.testing.assert_close(centres.double(), sums / expected_counts[:, None], rtol=1e-5, atol=1e-5)


def test_every_iteration_is_at_least_as_good() -> None:
    vectors = blobs()
    costs = [naive.inertia(vectors, kmeans(vectors, 6, iterations=i, generator=seeded(3))[0]) for i in range(8)]
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(costs))
    assert costs[-1] < 0.8 * costs[0]


def test_one_iteration_is_lloyd_s() -> None:
    vectors = blobs()
    start, _ = kmeans(vectors, 4, iterations=0, generator=seeded(4))
    centres, _ = kmeans(vectors, 4, iterations=1, generator=seeded(4))
    counts, sums = naive.statistics(vectors, naive.nearest(vectors, start), 4)
    torch.testing.assert_close(centres.double(), sums / counts[:, None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n", "num_codes"), [(1, 4), (3, 8), (5, 5), (5, 11)])
def test_fewer_vectors_than_codes(n: int, num_codes: int) -> None:
    vectors = torch.randn(n, 2, generator=seeded(5))
    centres, counts = kmeans(vectors, num_codes, generator=seeded(6))
    assert centres.shape == (num_codes, 2)
    assert centres.isfinite().all()
    assert counts.sum() == n
    # every vector has its code: nothing is lost by the start of the codebook
    assert naive.inertia(vectors, centres) < 1e-3 * n


def test_centres_that_repeat_a_vector_can_be_told_apart() -> None:
    """Two equal codes would stay equal, and the second never be chosen."""
    centres, _ = kmeans(torch.tensor([[0.0, 0.0], [1.0, 2.0], [5.0, 1.0]]), 8, generator=seeded(7))
    assert len(centres.unique(dim=0)) == 8


@pytest.mark.parametrize("num_codes", [1, 2, 5])
def test_equal_vectors(num_codes: int) -> None:
    centres, counts = kmeans(torch.full((10, 2), 3.0), num_codes, generator=seeded(8))
    torch.testing.assert_close(centres, torch.full((num_codes, 2), 3.0))
    assert counts.sum() == 10


def test_an_empty_cluster_takes_a_vector() -> None:
    """Nine tenths of the data are one point, so most centres start there and are empty."""
    vectors = torch.cat([torch.zeros(90, 1), torch.arange(1.0, 11.0)[:, None]])
    centres, counts = kmeans(vectors, 8, iterations=50, generator=seeded(9))
    assert (counts > 0).sum() >= 5
    assert naive.inertia(vectors, centres) < 10


def test_the_generator_decides() -> None:
    vectors, before = blobs(), torch.get_rng_state()
    first, second, other = (kmeans(vectors, 6, iterations=2, generator=seeded(seed))[0] for seed in (10, 10, 11))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_half_precision_under_autocast() -> None:
    vectors = blobs().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        centres, counts = kmeans(vectors, 6, generator=seeded(12))
    expected_centres, expected_counts = kmeans(vectors.float(), 6, generator=seeded(12))
    assert torch.equal(centres, expected_centres)
    assert torch.equal(counts, expected_counts)


def test_the_vectors_are_left_alone() -> None:
    vectors = blobs()
    before = vectors.clone()
    kmeans(vectors.requires_grad_(), 6, generator=seeded(13))
    assert torch.equal(vectors, before)


@pytest.mark.parametrize("shape", [(0, 3), (4,), (2, 3, 4)])
def test_wrong_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(N, D\) with N >= 1, got") as error:
        kmeans(torch.zeros(shape), 2)
    assert str(shape) in str(error.value)
