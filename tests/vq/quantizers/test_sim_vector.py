"""SimVectorQuantizer against the paper's formula in float64."""

import pytest
import torch

from discrete_lightning.nn import SimVectorQuantizer
from tests.vq.quantizers.makers import some_vectors


def test_values_losses_and_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    quantizer, vectors = SimVectorQuantizer(50, 6, codebook=0.7, commitment=0.3), some_vectors(40, 6).requires_grad_()
    result = quantizer(vectors)
    weights = some_vectors(40, 6, seed=2)
    (result.loss + (result.quantized * weights).sum()).backward()

    w = quantizer.weight.detach().double().requires_grad_()
    x = vectors.detach().double().requires_grad_()
    codes = quantizer.frozen_table.double() @ w.t()
    indices = torch.cdist(x, codes).argmin(-1)
    assert torch.equal(result.indices, indices)
    chosen = codes[indices]
    loss = 0.7 * (x.detach() - chosen).square().mean() + 0.3 * (x - chosen.detach()).square().mean()
    (loss + (x * weights.double()).sum()).backward()  # straight through
    torch.testing.assert_close(result.quantized.double(), chosen, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(result.loss.double(), loss, rtol=1e-5, atol=1e-6)
    for found, expected in ((quantizer.weight.grad, w.grad), (vectors.grad, x.grad)):
        assert found is not None
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_a_step_moves_every_code_and_no_frozen_one() -> None:
    torch.manual_seed(0)
    quantizer = SimVectorQuantizer(100, 4)
    frozen, before = quantizer.frozen_table.clone(), quantizer.codes.detach()
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.1)
    quantizer(some_vectors(5, 4)).loss.backward()
    optimizer.step()
    assert torch.equal(quantizer.frozen_table, frozen)
    assert ((quantizer.codes.detach() - before).norm(dim=1) > 0).all()


def test_the_rotation_trick_turns_the_gradient() -> None:
    torch.manual_seed(0)
    quantizer, vectors = SimVectorQuantizer(30, 4, gradient="rotation"), some_vectors(6, 4).requires_grad_()
    quantized = quantizer(vectors).quantized
    (found,) = torch.autograd.grad(quantized.sum(), vectors)
    assert not torch.allclose(found, torch.ones(6, 4))


@pytest.mark.parametrize("arguments", [{"codebook": -1.0}, {"commitment": -0.1}, {"gradient": "none"}])
def test_arguments_out_of_range(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"SimVectorQuantizer: {next(iter(arguments))} must be"):
        SimVectorQuantizer(8, 2, **arguments)  # type: ignore[arg-type]
