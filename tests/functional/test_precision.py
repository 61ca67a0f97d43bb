"""Reduced matrix products (TF32, bf16) change no choice: simulated by a mode that rounds factors as the settings say."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from discrete_lightning.functional import _precision, largest_logit
from discrete_lightning.functional._precision import addmm_float32, float32_matmul
from discrete_lightning.vq.functional import kmeans, nearest_code
from tests.vq.quantizers.makers import ALL, build, some_vectors

_PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}
BITS = {"high": 10, "medium": 7}


def rounded(x: Tensor, bits: int) -> Tensor:
    """`x` with `bits` of its mantissa, as the tensor cores take it."""
    half = 1 << (22 - bits)
    return ((x.contiguous().view(torch.int32) + half) & -(2 * half)).view(torch.float32)


class ReducedProducts(TorchDispatchMode):
    """Rounds the factors of matrix products unless the settings ask for full precision."""

    def __init__(self, bits: int, always: bool = False) -> None:
        super().__init__()
        self.bits, self.always = bits, always

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket in _PRODUCTS and (self.always or _precision._matmul_is_reduced()):
            args = (*args[:-2], *tree_map(lambda x: rounded(x, self.bits), args[-2:]))
        return function(*args, **(kwargs or {}))


@pytest.fixture(params=BITS)
def reduced(request: pytest.FixtureRequest) -> Iterator[ReducedProducts]:
    torch.set_float32_matmul_precision(request.param)
    with ReducedProducts(BITS[request.param]) as mode:
        yield mode
    assert torch.get_float32_matmul_precision() == request.param  # put back
    torch.set_float32_matmul_precision("highest")


def test_the_simulation_changes_choices(reduced: ReducedProducts) -> None:
    x, codes = some_vectors(4000, 64), some_vectors(256, 64, seed=2)
    found = torch.addmm(codes.square().sum(-1), x, codes.t(), alpha=-2).argmin(-1)
    assert (found != nearest_code(x, codes)).float().mean() > 1e-4


def test_the_functions_choose_as_in_full_precision(reduced: ReducedProducts) -> None:
    x, codes, bias = some_vectors(4000, 64), some_vectors(256, 64, seed=2), some_vectors(256, seed=3)
    found = nearest_code(x, codes), largest_logit(x, codes, bias), *_kmeans(x)
    torch.set_float32_matmul_precision("highest")
    expected = nearest_code(x, codes), largest_logit(x, codes, bias), *_kmeans(x)
    torch.set_float32_matmul_precision("high" if reduced.bits == 10 else "medium")
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def _kmeans(x: Tensor) -> tuple[Tensor, Tensor]:
    return kmeans(x, 32, iterations=3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("training", [True, False])
def test_every_quantiser_chooses_as_in_full_precision(name: str, training: bool) -> None:
    def indices(precision: str) -> Tensor:
        quantizer = build(name).train(training)
        torch.set_float32_matmul_precision(precision)
        torch.manual_seed(0)
        with ReducedProducts(BITS.get(precision, 23)):
            found: Tensor = quantizer(some_vectors(3000, quantizer.dim)).indices
        torch.set_float32_matmul_precision("highest")
        return found

    assert torch.equal(indices("medium"), indices("highest"))


def test_the_settings_are_put_back_after_an_error() -> None:
    @float32_matmul
    def fails() -> None:
        assert not _precision._matmul_is_reduced()
        raise RuntimeError("in the middle")

    torch.set_float32_matmul_precision("medium")
    with pytest.raises(RuntimeError, match="in the middle"):
        fails()
    assert torch.get_float32_matmul_precision() == "medium"
    torch.set_float32_matmul_precision("highest")


def test_the_newer_setting_is_seen() -> None:
    for backend in _precision._matmul_backends():
        before = backend.fp32_precision
        backend.fp32_precision = "tf32"
        assert _precision._matmul_is_reduced()
        assert float32_matmul(lambda: not _precision._matmul_is_reduced())()
        assert backend.fp32_precision == "tf32"
        backend.fp32_precision = before


@pytest.mark.parametrize("bits", BITS.values())
def test_a_product_in_parts_is_exact(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a compiled graph does, where the setting cannot be changed."""
    x, y, bias = some_vectors(50, 64), some_vectors(64, 30, seed=2), some_vectors(30, seed=3)
    exact = bias.double() - 2 * x.double() @ y.double()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(_precision, "_reduced_while_tracing", lambda: True)
    with ReducedProducts(bits, always=True):
        found = addmm_float32(bias, x, y, alpha=-2.0)
        plain = torch.addmm(bias, x, y, alpha=-2.0)
    assert (found - exact).abs().max() < 5e-5  # float32 at values of 100
    assert (plain - exact).abs().max() > 1e-3


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_a_compiled_graph_is_whole(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    torch._dynamo.reset()
    x, codes = some_vectors(100, 8), some_vectors(16, 8, seed=2)
    found = torch.compile(nearest_code, backend="aot_eager", fullgraph=True)(x, codes)
    torch.set_float32_matmul_precision("highest")
    assert torch.equal(found, nearest_code(x, codes))
