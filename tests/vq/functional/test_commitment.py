import pytest
import torch

from discrete_lightning.vq.functional import commitment_loss
from tests.references.inputs import seeded


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_value_and_gradients(dtype: torch.dtype) -> None:
    generator = seeded(0)
    vectors, codes = (torch.randn(4, 3, 5, generator=generator).to(dtype).requires_grad_() for _ in range(2))
    loss = commitment_loss(vectors, codes)
    loss.backward()
    difference = vectors.detach().double() - codes.detach().double()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert codes.grad is None
    torch.testing.assert_close(loss.double(), difference.square().mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(vectors.grad.double(), 2 * difference / 60, rtol=5e-3, atol=1e-6)


def test_gradcheck() -> None:
    generator = seeded(1)
    vectors, codes = (torch.randn(4, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: commitment_loss(x, codes), vectors.requires_grad_())


def test_an_empty_batch_costs_nothing() -> None:
    assert commitment_loss(torch.zeros(0, 3), torch.zeros(0, 3)).item() == 0


@pytest.mark.parametrize(("vectors", "codes"), [((4, 3), (3,)), ((4, 3), (1, 3)), ((2, 3), (3, 2))])
def test_shapes_must_be_equal(vectors: tuple[int, ...], codes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each vector needs its code"):
        commitment_loss(torch.zeros(vectors), torch.zeros(codes))
