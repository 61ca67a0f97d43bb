import pytest
import torch
from torch import Tensor

from discrete_lightning.vq.functional import rotate


def rotation(e: Tensor, q: Tensor) -> Tensor:
    """The rotation in the plane of e and q that takes e's direction to q's, by its definition (float64)."""
    a = e / e.norm()
    b = q / q.norm()
    cosine = a @ b
    normal = b - cosine * a
    if normal.norm() < 1e-12:
        return torch.eye(len(e), dtype=e.dtype)
    n = normal / normal.norm()
    sine = b @ n
    plane = torch.outer(a, a) + torch.outer(n, n)
    turn = cosine * plane + sine * (torch.outer(n, a) - torch.outer(a, n))
    return torch.eye(len(e), dtype=e.dtype) - plane + turn


def some(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dim", [2, 3, 16])
def test_value_and_gradient_against_the_rotation_matrix(dtype: torch.dtype, dim: int) -> None:
    e, q, g = (some(7, dim, seed=seed).to(dtype) for seed in range(3))
    e.requires_grad_()
    result = rotate(q, e)
    assert torch.equal(result, q)
    result.backward(g)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 4e-2}[dtype]
    for i in range(7):
        exact = [x[i].detach().double() for x in (e, q, g)]
        matrix = rotation(exact[0], exact[1]) * exact[1].norm() / exact[0].norm()
        torch.testing.assert_close(matrix @ exact[0], exact[1])  # the reference itself: R e is q
        torch.testing.assert_close(e.grad[i].double(), matrix.T @ exact[2], rtol=tolerance, atol=tolerance)  # type: ignore[index]


@pytest.mark.parametrize(("e", "q"), [([0.0, 0.0], [1.0, 0.0]), ([1.0, 0.0], [0.0, 0.0]), ([1.0, 2.0], [-2.0, -4.0])])
def test_without_a_rotation_it_is_straight_through(e: list[float], q: list[float]) -> None:
    vector, g = torch.tensor(e, requires_grad=True), torch.tensor([0.3, -0.7])
    rotate(torch.tensor(q), vector).backward(g)
    assert torch.equal(vector.grad, g)  # type: ignore[arg-type]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"vectors \(2, 3\), codes \(2, 4\)"):
        rotate(torch.zeros(2, 4), torch.zeros(2, 3))
