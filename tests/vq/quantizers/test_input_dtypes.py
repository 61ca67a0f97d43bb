"""Every quantiser, and every function of codebooks, takes vectors of any floating dtype, and refuses others in one message."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.nn import LookupFreeQuantizer
from discrete_lightning.vq import functional
from tests.vq.quantizers.makers import ALL, build, some_vectors

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

CALLS: dict[str, Callable[[Tensor], Any]] = {
    "code_statistics": lambda x: functional.code_statistics(x, torch.zeros(6, dtype=torch.int64), 3),
    "commitment_loss": lambda x: functional.commitment_loss(x, x),
    "finite_scalar": lambda x: functional.finite_scalar(x, [5, 4, 3]),
    "finite_scalar_residual": lambda x: functional.finite_scalar_residual(x, x, [5, 4, 3]),
    "kmeans": lambda x: functional.kmeans(x, 2),
    "lookup_free": functional.lookup_free,
    "rotate": lambda x: functional.rotate(x, x),
    "soft_code_marginals": functional.soft_code_marginals,
}


@pytest.mark.parametrize("name", ALL)
def test_integers_are_refused(name: str) -> None:
    quantizer = build(name)
    for dtype in (torch.int64, torch.uint8, torch.bool):
        with pytest.raises(
            ValueError, match=rf"vectors must be floating, got {dtype}: convert them with vectors.float\(\)"
        ):
            quantizer(torch.ones(6, quantizer.dim, dtype=dtype))
    with pytest.raises(ValueError, match="vectors must be real"):
        quantizer(torch.ones(6, quantizer.dim, dtype=torch.complex64))


@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
@pytest.mark.parametrize("name", ALL)
def test_vectors_of_any_floating_dtype(name: str) -> None:
    """Of a float32 layer. Vectors have the codes of their float32 copies; a residual stack in 16 bits rounds what is left."""
    quantizer, vectors = build(name), some_vectors(40, ALL[name]().dim).half()
    for dtype in FLOATING:
        x = vectors.to(dtype, copy=True).requires_grad_()
        result = quantizer.train()(x)
        assert result.quantized.dtype == dtype
        (result.quantized.float().sum() + result.loss).backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        indices = quantizer.eval()(x).indices
        if dtype != torch.bfloat16 and "residual" not in name:
            assert torch.equal(indices, quantizer(vectors.float()).indices)


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_vectors_that_are_not_floating(name: str) -> None:
    CALLS[name](some_vectors(6, 3))
    for dtype in (torch.int64, torch.bool, torch.complex64):
        with pytest.raises(ValueError, match=r"must be (floating|real), got"):
            CALLS[name](torch.ones(6, 3, dtype=dtype))


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf"), 1e-300, 1e39])
def test_the_temperature_of_soft_codes(tau: float) -> None:
    with pytest.raises(ValueError, match="tau must be"):
        functional.soft_code_marginals(torch.zeros(2, 3), tau)
    with pytest.raises(ValueError, match="LookupFreeQuantizer: tau must be"):
        LookupFreeQuantizer(4, tau=tau)


def test_soft_codes_at_a_low_temperature_are_the_codes() -> None:
    vectors = torch.tensor([[1.0, -2.0, 0.0]], requires_grad=True)
    marginal = functional.soft_code_marginals(vectors, 1e-38)[0]
    assert torch.equal(marginal.detach(), torch.tensor([0, 0.5, 0, 0, 0, 0.5, 0, 0]))
