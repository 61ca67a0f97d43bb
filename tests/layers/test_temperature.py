import copy
import io
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from discrete_lightning.nn import LossWeight, Scheduled, Temperature

VALUE = 0.7123456  # no bf16 number: a round trip would show
SCALARS = {
    "temperature": Temperature(VALUE, minimum=0.1),
    "learned": Temperature(VALUE, minimum=0.1, learnable=True),
    "weight": LossWeight(VALUE),
    "scalar": Scheduled(-VALUE),
}
every_scalar = pytest.mark.parametrize("scalar", SCALARS.values(), ids=SCALARS)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: Temperature(0.0), "0 < minimum < init"),
        (lambda: Temperature(-1.0), "0 < minimum < init"),
        (lambda: Temperature(1.0, minimum=0.0), r"minimum=0\.0"),
        (lambda: Temperature(0.5, minimum=0.5), "0 < minimum < init"),
        (lambda: Temperature(math.inf), "positive and finite, got inf"),
        (lambda: Temperature(math.nan), "nan"),
        (lambda: Temperature().set(0.0), "positive and finite, got 0.0"),
        (lambda: Temperature().set(-0.5), "positive and finite, got -0.5"),
        (lambda: Temperature().set(math.nan), "positive and finite, got nan"),
        (lambda: Temperature().set(math.inf), "positive and finite, got inf"),
        (lambda: LossWeight(-0.1), "must not be negative, got -0.1"),
        (lambda: LossWeight(1.0).set(-1e-9), "must not be negative, got -1e-09"),
        (lambda: LossWeight(1.0).set(math.nan), "LossWeight must be a finite number, got nan"),
        (lambda: Scheduled(math.inf), "Scheduled must be a finite number, got inf"),
    ],
)
def test_out_of_range(make: Callable[[], object], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        make()


def test_a_rejected_value_changes_nothing() -> None:
    temperature = Temperature(VALUE)
    with pytest.raises(ValueError):
        temperature.set(-1.0)
    assert temperature().item() == torch.tensor(VALUE).item()


@pytest.mark.parametrize(
    ("scalar", "value", "reads"),
    [
        (Temperature(1.0), 0.25, 0.25),
        (Temperature(1.0), 4.0, 4.0),
        (Temperature(1.0, minimum=0.5), 0.1, 0.5),
        (LossWeight(1.0), 0.0, 0.0),
        (Scheduled(1.0), -3.0, -3.0),
    ],
)
def test_set(scalar: Scheduled, value: float, reads: float) -> None:
    scalar.set(value)
    assert scalar().item() == reads
    assert scalar().shape == ()
    assert scalar().dtype == torch.float32
    assert not scalar().requires_grad


def test_a_learned_temperature_is_not_set() -> None:
    with pytest.raises(RuntimeError, match="learned"):
        Temperature(learnable=True).set(0.5)


@every_scalar
@pytest.mark.parametrize(
    "cast",
    [
        nn.Module.half,
        nn.Module.bfloat16,
        nn.Module.double,
        lambda module: module.to(torch.bfloat16),
        lambda module: module.to("cpu", torch.float64),
        lambda module: module.bfloat16().float().half().double(),
    ],
    ids=["half", "bfloat16", "double", "to_bf16", "to_cpu_f64", "chain"],
)
def test_float32_and_exact_under_casts(scalar: Scheduled, cast: Callable[[nn.Module], nn.Module]) -> None:
    module = nn.Sequential(nn.Linear(1, 1), copy.deepcopy(scalar))
    before = {name: value.clone() for name, value in module[1].state_dict().items()}
    cast(module)
    assert module[0].weight.dtype != torch.float32
    for name, value in module[1].state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])
    assert module[1]().dtype == torch.float32


def test_a_gradient_stays_float32_under_casts() -> None:
    temperature = Temperature(VALUE, learnable=True)
    temperature().backward()
    gradient = temperature.raw.grad.clone()  # type: ignore[union-attr]
    temperature.bfloat16()
    assert temperature.raw.grad.dtype == torch.float32  # type: ignore[union-attr]
    assert torch.equal(temperature.raw.grad, gradient)  # type: ignore[arg-type]


class Holder(Scheduled):
    """A Scheduled with children: one that must be cast and one that must not, at two depths."""

    def __init__(self) -> None:
        super().__init__(VALUE)
        self.layer = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), Temperature(VALUE))


def test_children_are_cast_if_they_are_not_float32_state() -> None:
    holder = Holder().bfloat16()
    dtypes = {name: value.dtype for name, value in holder.state_dict().items() if value.is_floating_point()}
    kept = {name for name, dtype in dtypes.items() if dtype == torch.float32}
    assert kept == {"value", "layer.2.value"}
    assert {dtypes[name] for name in dtypes.keys() - kept} == {torch.bfloat16}
    assert holder.value.item() == holder.layer[2].value.item() == torch.tensor(VALUE).item()
    assert list(dict(holder.named_children())) == ["layer"]


def test_moves_between_devices() -> None:
    holder = Holder().to("meta")
    assert {value.device.type for value in [*holder.parameters(), *holder.buffers()]} == {"meta"}
    assert holder.to_empty(device="cpu")().item() == torch.tensor(VALUE).item()
    assert {value.device.type for value in holder.state_dict().values()} == {"cpu"}


def test_a_move_of_the_module_alone_leaves_its_children() -> None:
    holder = Holder().to("meta").to_empty(device="cpu", recurse=False)  # as FSDP materialises one module after another
    assert holder.value.device.type == "cpu"
    assert {value.device.type for value in [*holder.parameters(), *holder.buffers()]} == {"meta"}


def test_repr_on_the_meta_device() -> None:
    with torch.device("meta"):
        assert "Temperature" in str(nn.Sequential(Temperature()))  # Lightning builds and prints large models there


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_float32_under_another_default_dtype(default: torch.dtype) -> None:
    torch.set_default_dtype(default)  # as Lightning's *-true plugins do while a model is built
    try:
        made = [Temperature(VALUE), Temperature(VALUE, learnable=True), LossWeight(VALUE)]
    finally:
        torch.set_default_dtype(torch.float32)
    for scalar in made:
        assert scalar().dtype == torch.float32
        assert scalar().item() == pytest.approx(VALUE, rel=1e-6)


@every_scalar
def test_persistent(scalar: Scheduled) -> None:
    buffer = io.BytesIO()
    torch.save(scalar.state_dict(), buffer)
    other = copy.deepcopy(scalar)
    for value in other.state_dict().values():
        value.detach().fill_(2.0)
    assert not torch.equal(other(), scalar())
    other.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert torch.equal(other(), scalar())


@every_scalar
def test_repr_names_kind_and_value(scalar: Scheduled) -> None:
    assert str(scalar) == f"{type(scalar).__name__}({'-' if type(scalar) is Scheduled else ''}0.7123)"


@every_scalar
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_equal_and_independent(scalar: Scheduled, duplicate: Callable[[Scheduled], Scheduled]) -> None:
    twin = duplicate(scalar)
    assert type(twin) is type(scalar)
    assert torch.equal(twin(), scalar())
    with torch.no_grad():
        next(iter(twin.state_dict().values())).fill_(5.0)
    assert not torch.equal(twin(), scalar())


@pytest.mark.parametrize("init", [0.02, 0.5, 1.0, 7.0, 200.0])
def test_gradient_of_a_learned_temperature(init: float) -> None:
    temperature = Temperature(init, minimum=0.01, learnable=True)
    assert temperature().item() == pytest.approx(init, rel=1e-5)
    raw = temperature.raw.detach().double().requires_grad_()
    expected = 0.01 + torch.log1p(raw.exp())
    expected.square().backward()
    temperature().square().backward()
    assert temperature().item() == pytest.approx(expected.item(), rel=1e-6)
    assert temperature.raw.grad.item() == pytest.approx(raw.grad.item(), rel=1e-5)  # type: ignore[union-attr]


def test_a_learned_temperature_stays_above_its_minimum() -> None:
    temperature = Temperature(0.2, minimum=0.1, learnable=True)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=100.0)
    for _ in range(5):
        optimizer.zero_grad()
        temperature().backward()
        optimizer.step()
    assert 0.1 <= temperature().item() < 0.2
    assert temperature().item() == pytest.approx(0.1, abs=1e-3)


def test_a_learned_temperature_of_an_older_checkpoint_is_loaded() -> None:
    module = nn.Sequential(Temperature(VALUE, learnable=True))
    module.load_state_dict({"0.raw": torch.tensor(0.25)})  # parameters had no dimension
    assert module[0].raw.tolist() == [0.25]
    assert module[0]().shape == ()


def test_compiles_once_for_all_values() -> None:
    temperature, x, counter = Temperature(1.0), torch.arange(3.0), CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: x / temperature(), backend=counter, fullgraph=True)
    for step in range(20):
        temperature.set(1.0 - step / 25)
        assert torch.equal(compiled(x), x / temperature())
    assert counter.frame_count == 1
