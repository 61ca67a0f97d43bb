"""DifferentiableVectorQuantizer against the paper's formula in float64."""

import pytest
import torch

from discrete_lightning.nn import DifferentiableVectorQuantizer
from tests.vq.quantizers.makers import some_vectors


def build(noise: float) -> DifferentiableVectorQuantizer:
    quantizer = DifferentiableVectorQuantizer(30, 6, noise=noise, follow=0.0)
    quantizer.set_codes(some_vectors(30, 6, seed=5))
    return quantizer


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_values_and_gradients_are_those_of_the_formula(noise: float) -> None:
    quantizer, vectors = build(noise), some_vectors(40, 6).requires_grad_()
    weights = some_vectors(40, 6, seed=2)
    torch.manual_seed(1)
    result = quantizer(vectors)
    (result.quantized * weights).sum().backward()

    torch.manual_seed(1)
    drawn = torch.randn(40, 6).double() if noise else torch.zeros(40, 6).double()
    x, table = vectors.detach().double().requires_grad_(), quantizer.codes.detach().double().requires_grad_()
    chosen = table[torch.cdist(x, table).argmin(-1)]
    length = (chosen - x).norm(dim=-1, keepdim=True)
    direction = (chosen - x).detach() + noise / 6**0.5 * length.detach() * drawn
    quantized = x + length * direction / direction.norm(dim=-1, keepdim=True)
    (quantized * weights.double()).sum().backward()
    torch.testing.assert_close(result.quantized.double(), quantized, rtol=1e-5, atol=1e-5)
    for found, expected in ((vectors.grad, x.grad), (quantizer.codes.grad, table.grad)):
        assert found is not None
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert not result.loss


def test_evaluation_gives_the_codes_themselves() -> None:
    quantizer = build(0.3).eval()
    result = quantizer(some_vectors(40, 6))
    assert torch.equal(result.quantized, quantizer.codes[result.indices])


def test_a_vector_that_is_a_code_gets_finite_gradients() -> None:
    quantizer = build(0.3)
    vectors = quantizer.codes.detach().clone().requires_grad_()
    result = quantizer(vectors)
    result.quantized.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()
    assert torch.allclose(result.quantized, quantizer.codes)


def test_the_angle_of_the_noise_does_not_depend_on_the_scale_of_vectors() -> None:
    angles = []
    for scale in (1e-3, 1e3):
        quantizer = DifferentiableVectorQuantizer.from_codes(scale * some_vectors(30, 6, seed=5), noise=0.3)
        vectors = scale * some_vectors(200, 6)
        torch.manual_seed(0)
        result = quantizer(vectors)
        error, exact = result.quantized - vectors, quantizer.codes[result.indices] - vectors
        angles.append(torch.cosine_similarity(error / scale, exact / scale).detach())
    torch.testing.assert_close(*angles, rtol=0, atol=1e-4)
    assert 0.9 < float(angles[0].mean()) < 0.99


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"noise must be >= 0, got -1\.0"):
        DifferentiableVectorQuantizer(8, 2, noise=-1.0)
