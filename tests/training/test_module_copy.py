"""Copies for measurements: what `copy.deepcopy` gives, without hooks, for every model of the package."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.training.copied_module import first_examples, holds_tensor, restart_draws
from discrete_lightning.training.module_copy import copy_without_hooks
from tests.tables.faults import cases
from tests.tables.holder import holder
from tests.tables.makers import MODELS


def described(module: nn.Module) -> list[Any]:
    """Class and attributes of each module inside, but for a key that each copy has of its own; tensors by value."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return (value.dtype, value.requires_grad, str(value.tolist()))
        return value if isinstance(value, int | float | str | None) else type(value)

    return [
        (
            name,
            type(each),
            {key: plain(value) for key, value in vars(each).items() if key != "_key"},
            list(each.state_dict()),
        )
        for name, each in module.named_modules(remove_duplicate=False)
    ]


@pytest.mark.parametrize("name", cases("model", list(MODELS)))
def test_a_copy_is_what_deepcopy_gives(name: str) -> None:
    torch.manual_seed(0)
    module = MODELS[name]()
    copied = copy_without_hooks(module)
    expected: nn.Module = copy.deepcopy(module)
    assert described(copied) == described(expected)
    torch.testing.assert_close(copied.state_dict(), expected.state_dict(), rtol=0, atol=0, equal_nan=True)
    ours = {id(each) for each in [*module.modules(), *module.parameters(), *module.buffers()]}
    assert not ours & {id(each) for each in [*copied.modules(), *copied.parameters(), *copied.buffers()]}


def test_shared_modules_and_parameters_stay_shared() -> None:
    first = nn.Linear(2, 2)
    second = nn.Linear(2, 2)
    second.weight = first.weight
    module: Any = nn.ModuleDict({"a": first, "b": first, "c": second})
    module.held = [first]  # in a list, where no module is registered
    copied = copy_without_hooks(module)
    assert copied["a"] is copied["b"] is copied.held[0]
    assert copied["a"].weight is copied["c"].weight is not first.weight


def test_hooks_stay_with_the_original() -> None:
    calls = []
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].register_forward_hook(lambda *_: calls.append(1))
    copied = copy_without_hooks(module)
    copied(torch.zeros(1, 2))
    assert not calls
    module(torch.zeros(1, 2))
    assert len(calls) == 1


def test_draws_start_again() -> None:
    module: Any = holder("automatic")
    module.own = torch.Generator().manual_seed(3)
    copied = copy_without_hooks(module)
    draws = []
    for _ in range(2):
        torch.manual_seed(1)
        draws.append(torch.stack([torch.rand(3, generator=copied.own), copied.either(torch.ones(8))[:3].detach()]))
        restart_draws(copied, module)
    torch.testing.assert_close(draws[0], draws[1], rtol=0, atol=0)
    assert torch.equal(torch.rand(3, generator=module.own), draws[0][0])


def test_the_first_examples() -> None:
    x = torch.arange(6.0).view(3, 2)
    batch = {"x": x, "more": (x, [torch.tensor(1.0)]), "names": "abc"}
    found = first_examples(batch, 2)
    assert found["x"].tolist() == [[0, 1], [2, 3]]
    assert found["more"][0].shape == (2, 2)
    assert found["names"] == "abc"
    found["x"].zero_()
    assert x.sum() == 15
    assert first_examples(x, None).shape == (3, 2)


def test_what_holds_examples() -> None:
    assert holds_tensor({"a": [torch.zeros(2)]})
    assert not any(holds_tensor(each) for each in (3, {"a": 1}, [torch.tensor(1.0)], None))
