import pytest
import torch

from discrete_lightning.vq.functional import code_statistics, codes_from_statistics, ema_update_
from tests.references import codebook as naive
from tests.references.inputs import seeded


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("shape", "num_codes"), [((50, 3), 7), ((4, 5, 2), 3), ((6,), 2), ((0, 3), 4), ((1, 1), 1)])
def test_statistics(shape: tuple[int, ...], num_codes: int, dtype: torch.dtype) -> None:
    generator = seeded(0)
    vectors = torch.randn(shape, generator=generator).to(dtype)
    indices = torch.randint(num_codes, shape[:-1], generator=generator)
    counts, sums = code_statistics(vectors, indices, num_codes)
    expected = naive.statistics(vectors.reshape(-1, shape[-1]), indices.flatten(), num_codes)
    assert counts.dtype == sums.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(counts.double(), expected[0], rtol=0, atol=0)
    torch.testing.assert_close(sums.double(), expected[1], rtol=1e-5, atol=1e-5)


def test_statistics_of_many_half_precision_vectors() -> None:
    """Counters in bfloat16 stop at 256."""
    counts, sums = code_statistics(torch.ones(5000, 1, dtype=torch.bfloat16), torch.zeros(5000, dtype=torch.int64), 2)
    assert counts.tolist() == [5000, 0]
    assert sums.tolist() == [[5000], [0]]


def test_statistics_carry_no_gradient() -> None:
    counts, sums = code_statistics(torch.ones(2, 1, requires_grad=True), torch.tensor([0, 1]), 2)
    assert not counts.requires_grad
    assert not sums.requires_grad


@pytest.mark.parametrize("index", [-1, 2])
def test_statistics_need_indices_in_range(index: int) -> None:
    with pytest.raises((IndexError, RuntimeError), match="out of"):
        code_statistics(torch.ones(1, 1), torch.tensor([index]), 2)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99, 0.999, 1.0])
def test_ema(decay: float) -> None:
    average, value = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 5.0])
    expected = decay * average.double() + (1 - decay) * value.double()
    result = ema_update_(average, value, decay)
    assert result is average
    torch.testing.assert_close(average.double(), expected, rtol=1e-6, atol=0)


def test_ema_of_parameters_is_outside_the_graph() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    ema_update_(parameter, torch.tensor([3.0]), 0.5)
    assert parameter.tolist() == [2.0]
    assert parameter.is_leaf


@pytest.mark.parametrize(
    ("count", "total", "present", "expected"),
    [
        (2.0, 3.0, 7.0, 1.5),
        (0.5, 3.0, 7.0, 6.0),
        (0.0, 0.0, 7.0, 7.0),
        (0.9e-5, 1.0, 7.0, 7.0),
        (1.1e-5, 1.1e-5, 7.0, 1.0),
        (-1.0, 1.0, 7.0, 7.0),
    ],
)
def test_codes_from_statistics(count: float, total: float, present: float, expected: float) -> None:
    codes = codes_from_statistics(
        torch.tensor([count, 1.0]), torch.tensor([[total], [4.0]]), torch.tensor([[present], [0.0]])
    )
    torch.testing.assert_close(codes, torch.tensor([[expected], [4.0]]))


def test_codes_from_statistics_leaves_its_arguments_alone() -> None:
    arguments = (torch.tensor([2.0]), torch.tensor([[3.0]]), torch.tensor([[7.0]]))
    codes = codes_from_statistics(*arguments, epsilon=5.0)
    assert codes.tolist() == [[7.0]]
    assert [x.flatten().tolist() for x in arguments] == [[2.0], [3.0], [7.0]]
