"""State that is saved and moved with a module, and that no averaging, cast or broadcast reaches."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    update_bn,
)

from discrete_lightning.layers.private_state import PrivateState, copy_private_state
from discrete_lightning.nn import LossWeight, RelaxedCategorical, Temperature


class Counts(PrivateState):
    """Numbers and tensors of every kind that averaging fails on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_number("steps", 0)
        self.register_number("seed", 2**61 + 1)
        self.register_number("ready", False)
        self.register_private("limit", torch.tensor(float("inf")))
        self.register_private("allowed", torch.tensor([True, False]), persistent=False)
        self.register_private("absent", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def private(module: nn.Module) -> dict[str, object]:
    found = {}
    for name, each in module.named_modules():
        if isinstance(each, PrivateState):
            for key in each.private_names():
                value = getattr(each, key)
                found[f"{name}.{key}"] = (value.dtype, value.tolist()) if isinstance(value, Tensor) else value
    return found


def used() -> Counts:
    module = Counts()
    module.steps, module.ready = 2**40, True
    module.limit.fill_(3.5)
    return module


def network() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), used(), Temperature(0.7), LossWeight(0.3), RelaxedCategorical())
    module[2].set(0.1)
    return module


def test_a_state_dict_holds_it_under_its_name() -> None:
    saved = used().state_dict()
    assert list(saved) == ["weight", "steps", "seed", "ready", "limit"]
    assert saved["steps"].dtype == torch.int64
    module = Counts()
    module.load_state_dict(saved)
    assert private(module) == private(used())
    assert type(module.ready) is bool
    assert type(module.steps) is int


def test_state_dicts_that_do_not_fit() -> None:
    saved = used().state_dict()
    del saved["steps"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"steps"'):
        Counts().load_state_dict(saved)
    assert Counts().load_state_dict(saved, strict=False).missing_keys == ["steps"]
    with pytest.raises(RuntimeError, match="size mismatch for limit"):
        Counts().load_state_dict(used().state_dict() | {"limit": torch.zeros(2)})
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"other"'):
        Counts().load_state_dict(used().state_dict() | {"other": torch.zeros(2)})


@pytest.mark.parametrize("how", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_equal_and_independent(how: object) -> None:
    module = network()
    twin = how(module)  # type: ignore[operator]
    assert private(twin) == private(module)
    twin[1].steps += 1
    twin[2].set(0.5)
    assert private(module) == private(network())


def test_casts_and_moves_leave_its_dtype_and_values() -> None:
    module = network().bfloat16().to("meta").to_empty(device="cpu")
    assert private(module) == private(network())
    assert module[2]().dtype == torch.float32


AVERAGES = {
    "ema": {"avg_fn": get_ema_avg_fn(0.9)},
    "ema_multi": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    "swa": {"avg_fn": get_swa_avg_fn()},
    "default": {},
}


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("use_buffers", [True, False])
def test_averaging_changes_nothing_of_it(name: str, use_buffers: bool) -> None:
    module = network()
    average = AveragedModel(module, use_buffers=use_buffers, **AVERAGES[name])  # type: ignore[arg-type]
    for step in range(5):
        module[1].steps, module[1].ready = step, True
        module[2].set(1.0 - 0.1 * step)
        average.update_parameters(module)
        copy_private_state(module, average.module)
        assert private(average.module) == private(module)
    update_bn([torch.zeros(2, 2)], average, torch.device("cpu"))
    assert private(average.module) == private(module)
    for mine, theirs in zip(module.buffers(), average.module.buffers(), strict=True):
        mine.data.copy_(theirs.data)  # as Lightning does at the end
    assert module[2]().item() == torch.tensor(0.6).item()


def test_a_float_keeps_all_its_bits_and_its_kind() -> None:
    module, twin = PrivateState(), PrivateState()
    for each in (module, twin):
        each.register_number("limit", 0.1)
    module.limit = 150
    twin.load_state_dict(module.state_dict())
    assert twin.limit == 150.0
    module.limit = 1 / 3
    saved = module.state_dict()
    assert saved["limit"].dtype == torch.int64  # MPS has no float64
    twin.load_state_dict(saved)
    assert twin.limit == 1 / 3
    twin.load_state_dict({"limit": torch.tensor(0.5)})  # as a buffer was saved
    assert twin.limit == 0.5
