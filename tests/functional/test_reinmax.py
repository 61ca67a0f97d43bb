import pytest
import torch

from discrete_lightning.functional import reinmax
from tests.references import estimators as reference
from tests.references.inputs import leaf, seeded

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.2, 1, 1.0, 1.3, 10.0, torch.tensor(1.0), torch.tensor(1.5)], ids=str)
@pytest.mark.parametrize("categories", [2, 5, 50])
def test_the_gradient_of_each_draw(categories: int, tau: float | torch.Tensor, dtype: torch.dtype) -> None:
    logits = leaf(2 * torch.randn(20, 3, categories, generator=seeded(1), dtype=torch.float64), dtype)
    g = torch.randn(20, 3, categories, generator=seeded(2)).to(dtype)
    sample = reinmax(logits, tau, generator=seeded(3))
    sample.backward(g)
    exact = reference.reinmax(logits.detach(), sample.detach(), float(tau), g)
    assert (sample.dtype, logits.grad.dtype) == (dtype, dtype)
    torch.testing.assert_close(logits.grad.double(), exact, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_at_one_it_is_zgr() -> None:
    """Shekhovtsov's form of it: J(p) g / 2 + (D - p) ((D - p).g) / 2."""
    logits, g = torch.randn(2, 50, 6, generator=seeded(4), dtype=torch.float64)
    logits.requires_grad_()
    sample = reinmax(logits, generator=seeded(5))
    sample.backward(g)
    p = logits.detach().softmax(-1)
    centred = sample.detach() - p
    zgr = reference.jacobian_product(p, g) / 2 + centred * (centred * g).sum(-1, keepdim=True) / 2
    torch.testing.assert_close(logits.grad, zgr, rtol=1e-12, atol=1e-14)


def test_the_temperature_gets_no_gradient() -> None:
    logits, tau = leaf(torch.randn(4, 3, generator=seeded(6))), leaf(1.3)
    sample = reinmax(logits, tau, generator=seeded(7))
    assert not reinmax(logits.detach(), tau).requires_grad
    sample.square().sum().backward()
    assert tau.grad is None


def test_a_second_backward_pass_gives_the_same_bits() -> None:
    logits = leaf(torch.randn(4, 3, generator=seeded(8)))
    loss = (reinmax(logits, 1.3, generator=seeded(9)) * torch.randn(4, 3, generator=seeded(10))).sum()
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
