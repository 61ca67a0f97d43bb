import sys

import pytest
import torch

from discrete_lightning.vq.functional import nearest_code
from tests.references import codebook as naive
from tests.references.inputs import seeded

MODULE = sys.modules["discrete_lightning.vq.functional.nearest_code"]  # the package's attribute is the function


def data(n: int = 200, k: int = 37, d: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = seeded(seed)
    return torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)


@pytest.mark.parametrize(("n", "k", "d"), [(1, 1, 1), (200, 37, 6), (50, 512, 64), (300, 3, 1), (0, 4, 2)])
@pytest.mark.parametrize("block", [1 << 22, 100, 1])
def test_against_brute_force(n: int, k: int, d: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of all the vectors, of several and of one."""
    monkeypatch.setattr(MODULE, "_BLOCK", block)
    vectors, codes = data(n, k, d)
    expected = naive.nearest(vectors, codes) if n else torch.zeros(0, dtype=torch.int64)
    assert torch.equal(nearest_code(vectors, codes), expected)


@pytest.mark.parametrize("offset", [10.0, -10.0])
def test_vectors_far_from_the_origin(offset: float) -> None:
    vectors, codes = data(2000, 256, 64)
    assert torch.equal(nearest_code(vectors + offset, codes + offset), naive.nearest(vectors + offset, codes + offset))


def test_more_distances_than_a_block_holds() -> None:
    vectors, codes = data(20_000, 256, 4)
    assert vectors.shape[0] * codes.shape[0] > MODULE._BLOCK
    assert torch.equal(nearest_code(vectors, codes), naive.nearest(vectors, codes))


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (2, 0, 6), (2, 2, 2, 6)])
def test_any_number_of_leading_dimensions(shape: tuple[int, ...]) -> None:
    vectors, codes = torch.randn(shape, generator=seeded(1)), data()[1]
    index = nearest_code(vectors, codes)
    assert (index.shape, index.dtype) == (torch.Size(shape[:-1]), torch.int64)
    assert torch.equal(index.flatten(), nearest_code(vectors.reshape(-1, 6), codes))


@pytest.mark.parametrize("block", [1 << 22, 1])
def test_of_equal_codes_either_is_nearest(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK", block)
    vectors, codes = data(k=5)
    assert torch.equal(nearest_code(vectors, codes.repeat(3, 1)) % 5, nearest_code(vectors, codes))


def test_memory_layout_does_not_matter() -> None:
    vectors, codes = data()
    strided = nearest_code(vectors.t().contiguous().t(), codes.t().contiguous().t())
    assert torch.equal(strided, nearest_code(vectors, codes))


def test_distances_are_float32_under_autocast() -> None:
    vectors, codes = data(2000, 512, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = nearest_code(vectors, codes)
        rounded = (codes.square().sum(-1) - 2 * vectors @ codes.t()).argmin(-1)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(under_autocast, nearest_code(vectors, codes))
    assert not torch.equal(rounded, under_autocast)  # otherwise the data would not distinguish the two


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_inputs_are_taken_at_their_value(dtype: torch.dtype) -> None:
    vectors, codes = (x.to(dtype) for x in data(2000, 512, 16))
    expected = nearest_code(vectors.float(), codes.float())
    assert torch.equal(nearest_code(vectors, codes), expected)
    assert torch.equal(nearest_code(vectors, codes.float()), expected)


def test_float64_inputs_keep_their_precision() -> None:
    codes = torch.tensor([[1.0], [1.0 + 1e-6]], dtype=torch.float64)
    assert nearest_code(codes, codes).tolist() == [0, 1]


def test_no_gradient() -> None:
    vectors, codes = (x.requires_grad_() for x in data())
    assert not nearest_code(vectors, codes).requires_grad


@pytest.mark.parametrize(
    ("vectors", "codes"), [((4, 3), (5, 2)), ((4, 3), (3,)), ((4, 3), (2, 5, 3)), ((3, 4), (5, 3)), ((1,), (5, 3))]
)
def test_dimensions_must_agree(vectors: tuple[int, ...], codes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="codes' dimension last") as error:
        nearest_code(torch.zeros(vectors), torch.zeros(codes))
    assert str(vectors) in str(error.value)
    assert str(codes) in str(error.value)


@pytest.mark.parametrize("block", [1 << 22, 40])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_vectors_that_are_not_finite_are_counted(bad: float, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK", block)
    vectors, codes = data(6)
    vectors[1, 2] = vectors[1, 3] = vectors[5, 0] = bad
    with pytest.raises(ValueError, match=r"2 of 6 vectors .* not finite \(input of shape \(2, 3, 6\)\)"):
        nearest_code(vectors.view(2, 3, 6), codes)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_codes_that_are_not_finite_are_not_blamed_on_the_vectors(bad: float) -> None:
    vectors, codes = data(6)
    codes[:, 2] = bad
    with pytest.raises(ValueError, match="finite") as error:
        nearest_code(vectors, codes)
    assert "0 of 6 vectors" not in str(error.value)
