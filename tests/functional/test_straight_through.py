import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import one_hot, straight_through
from tests.references.inputs import seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def pair(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Values near and far from the path, where path + (value - path) would be rounded."""
    generator = seeded(0)
    path, factor = torch.randn(2, 4096, dtype=torch.float64, generator=generator)
    value = torch.cat([path[:2048] * (1 + 0.1 * factor[:2048]), path[2048:] * 1e-3])
    return value.to(dtype), path.to(dtype).requires_grad_()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_value_is_kept_to_the_bit(dtype: torch.dtype) -> None:
    value, path = pair(dtype)
    result = straight_through(value, path)
    assert result.dtype == dtype
    assert torch.equal(result, value)
    naive = path + (value - path).detach()
    assert not torch.equal(naive, value)  # otherwise the data would not distinguish the two


@pytest.mark.parametrize("path_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value_dtype", DTYPES, ids=str)
def test_the_gradient_goes_to_the_path(value_dtype: torch.dtype, path_dtype: torch.dtype) -> None:
    value, path = pair(value_dtype)[0].requires_grad_(), pair(path_dtype)[1]
    cotangent = torch.randn(4096, generator=seeded(1)).to(value_dtype)
    straight_through(value, path).backward(cotangent)
    assert value.grad is None
    assert path.grad.dtype == path_dtype
    assert torch.equal(path.grad, cotangent.to(path_dtype))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
def test_infinite_values_are_kept(value: float) -> None:
    path = torch.zeros(2, requires_grad=True)
    assert straight_through(torch.full((2,), value), path).tolist() == [value, value]


def test_a_second_backward_pass_works() -> None:
    x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad((straight_through(x.round(), x) * x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    # d/dx of round(x) x is x + round(x) here, and its derivative 1 + 1
    assert torch.equal(first, x + x.round())
    assert torch.equal(second, torch.full_like(x, 2.0))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_changing_the_result_in_place_leaves_the_value_alone(requires_grad: bool) -> None:
    value, path = torch.tensor([-1.0, 2.0]), torch.zeros(2, requires_grad=requires_grad)
    result = straight_through(value, path).relu_()
    assert result.tolist() == [0, 2]
    assert value.tolist() == [-1, 2]


@pytest.mark.parametrize(("value", "path"), [((3,), (4,)), ((3,), (1, 3)), ((2, 1), (2, 3)), ((), (1,))])
def test_shapes_must_be_equal(value: tuple[int, ...], path: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must have one shape") as error:
        straight_through(torch.zeros(value), torch.zeros(path))
    assert str(value) in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_one_hot(dim: int, dtype: torch.dtype) -> None:
    like = torch.empty(3, 3, 3, dtype=dtype)
    index = torch.randint(3, (3, 3), generator=seeded(2))
    expected = torch.nn.functional.one_hot(index, 3).movedim(-1, dim).to(dtype)
    for layout in (like, like.transpose(0, 2)):
        result = one_hot(index, layout, dim)
        assert result.dtype == dtype
        assert result.is_contiguous()
        assert torch.equal(result, expected)


def test_one_hot_of_one_choice_and_of_none() -> None:
    assert one_hot(torch.tensor(2), torch.empty(4)).tolist() == [0, 0, 1, 0]
    assert one_hot(torch.zeros(0, dtype=torch.int64), torch.empty(0, 4)).shape == (0, 4)


def test_one_hot_needs_an_index_in_range() -> None:
    with pytest.raises(RuntimeError, match="out of bounds"):
        one_hot(torch.tensor([3]), torch.empty(1, 3))
