"""What holds for every exported estimator, for categories and for binary variables."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from tests.harness.device import PretendDevice
from tests.tables.faults import cases
from tests.tables.makers import ESTIMATORS

# names with "binary" for the binary counterpart
USES = [f"{name}{use}" for name, make in ESTIMATORS.items() for use in ("", "_binary") if use or make().categorical]


def cost(sample: Tensor) -> Tensor:
    weights = torch.linspace(-1.0, 2.0, 4, device=sample.device)
    return ((sample.float() - 0.3).square() * weights).sum((-2, -1))


def expectation(use: str, logits: Tensor, tau: float | Tensor = 0.7) -> Tensor:
    """The losses (6,) of logits (6, 3, 4)."""
    name, _, binary = use.partition("_")
    return ESTIMATORS[name]().expectation(cost, logits, tau, binary=bool(binary))


def some_logits(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_a_value(name: str) -> None:
    first = ESTIMATORS[name]()
    for second in (ESTIMATORS[name](), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert second == first
        assert hash(second) == hash(first)
        assert repr(second) == repr(first)
    with pytest.raises(AttributeError):
        first.new = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("use", cases("estimator_dtype", USES))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_are_of_the_logits_dtype(use: str, dtype: torch.dtype) -> None:
    logits = some_logits(dtype)
    torch.manual_seed(0)
    loss = expectation(use, logits)
    assert loss.dtype == torch.float32
    assert loss.shape == (6,)
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.dtype == dtype
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


@pytest.mark.parametrize("use", cases("estimator_device", USES))
@pytest.mark.parametrize(("device", "float64"), [("cuda", True), ("mps", False)])
def test_an_expectation_reads_nothing_on_a_device(use: str, device: str, float64: bool) -> None:
    logits, tau = some_logits(), torch.tensor(0.7)
    with PretendDevice(device, float64) as pretended:
        expectation(use, logits, tau).sum().backward()
    assert not pretended.reads
    assert logits.grad is not None


@pytest.mark.parametrize("use", cases("estimator_seed", USES))
def test_an_expectation_is_repeatable(use: str) -> None:
    gradients = []
    for _ in range(2):
        torch.manual_seed(0)
        logits = some_logits()
        expectation(use, logits).sum().backward()
        gradients.append(logits.grad)
    assert torch.equal(*gradients)  # type: ignore[arg-type]
