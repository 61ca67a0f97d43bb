"""The controller of a budget: its recursion naively, its gradient by autograd, errors."""

import pytest
import torch
from torch import nn

from discrete_lightning.estimators import DisARM, GumbelSoftmax
from discrete_lightning.selection import (
    BudgetController,
    BudgetError,
    Gate,
    GateLayer,
    HardConcrete,
    SelectK,
    StochasticGate,
    deployed_cost,
    expected_cost,
    open_gates,
)
from tests.references.gates import ascend
from tests.references.inputs import seeded
from tests.selection.gated import layers, network, number_open, priced
from tests.selection.gates.makers import ALL, location


def test_the_target_falls_geometrically() -> None:
    gate, controller = Gate(20), BudgetController(5, start=0.2, end=0.6, settle=0.7)
    assert controller.budget([gate]) == 5
    assert [controller.current(p, [gate]) for p in (0.0, 0.1, 0.2)] == [20, 20, 20]
    for progress in (0.3, 0.4, 0.5):
        assert controller.current(progress, [gate]) == pytest.approx(20 * (5 / 20) ** ((progress - 0.2) / 0.4))
    assert [controller.current(p, [gate]) for p in (0.6, 0.8, 1.0)] == [5, 5, 5]
    halves = [controller.current(0.2 + 0.1 * i, [gate]) for i in range(5)]
    assert torch.tensor(halves[1:]) / torch.tensor(halves[:-1]) == pytest.approx(0.25**0.25)
    assert BudgetController(0.25).budget([gate]) == 5
    assert BudgetController(30).current(1.0, [gate]) == 20  # no more than all


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("most", [100.0, 0.4])
def test_the_multiplier_recursion(two_sided: bool, most: float) -> None:
    controller = BudgetController(
        3, start=0.25, end=0.75, integral=0.2, proportional=0.7, most=most, two_sided=two_sided
    )
    gate, expected, targets, weights, multipliers = Gate(10, start=0.4), [], [], [], []
    optimizer = torch.optim.SGD([gate.logits], lr=3.0)
    for step in range(40):
        progress = step / 40
        optimizer.zero_grad()
        if two_sided or progress >= 0.25:
            expected.append(float(torch.sigmoid(gate.logits.detach()).sum()))
            targets.append(10 * 0.3 ** min(1.0, max(0.0, (progress - 0.25) / 0.5)))
        controller.add_gradient(gate, progress)
        if expected:
            weights.append(controller.weights[""])
            multipliers.append(controller.multipliers[""])
            assert controller.expected[""] == pytest.approx(expected[-1], rel=1e-5)
        else:
            assert not controller.weights
            assert gate.logits.grad is None
        optimizer.step()
    found = ascend(expected, targets, 0.2, 0.7, most, -most if two_sided else 0.0)
    assert weights == pytest.approx(found[0], rel=1e-4, abs=1e-5)
    assert multipliers == pytest.approx(found[1], rel=1e-4, abs=1e-5)
    assert max(weights) > 0.05
    assert (min(weights) < 0) == two_sided


@pytest.mark.parametrize("kind", [Gate, HardConcrete, StochasticGate])
@pytest.mark.parametrize("cost", [open_gates, priced])
def test_the_gradient_that_is_added(kind: type[GateLayer], cost: object) -> None:
    """That of weight * C / C*, beside what was there."""
    module = network(5, 3, kind=kind)
    target = 0.4 * float(cost({each: torch.ones(each.size) for each in layers(module)}))  # type: ignore[operator]
    controller = BudgetController(0.4, cost)  # type: ignore[arg-type]
    before = [torch.randn(5, generator=seeded(1)), None]
    for each, gradient in zip(layers(module), before, strict=True):
        location(each).grad = None if gradient is None else gradient.clone()
    controller.add_gradient(module, 0.9)
    weight = controller.weights[""]
    assert weight > 0.1
    expected = expected_cost(module, cost)  # type: ignore[arg-type]
    assert weight == pytest.approx(float(expected.detach()) / target - 1, rel=1e-4)
    wanted = torch.autograd.grad(weight * expected / target, [location(each) for each in layers(module)])
    for each, gradient, added in zip(layers(module), before, wanted, strict=True):
        assert location(each).grad is not None
        torch.testing.assert_close(location(each).grad, added if gradient is None else gradient + added)


def test_two_sided_opens_gates_below_the_target() -> None:
    gate = Gate(10, start=0.2)
    for two_sided, sign in ((True, -1), (False, 0)):
        gate.logits.grad = None
        controller = BudgetController(6, two_sided=two_sided)
        controller.add_gradient(gate, 0.1)
        controller.add_gradient(gate, 0.9)
        if two_sided:
            assert gate.logits.grad is not None
            assert (gate.logits.grad.sign() == sign).all()
        else:
            assert gate.logits.grad is None


def test_a_budget_of_each_layer_has_a_multiplier_for_each() -> None:
    module = nn.ModuleDict({"wide": Gate(10, start=0.9), "narrow": Gate(4, start=0.2)})
    controller = BudgetController(2, scope="layer")
    controller.add_gradient(module, 0.9)
    assert controller.weights == pytest.approx({"wide": 9 / 2 - 1, "narrow": 0.0}, rel=0.02)
    assert module["narrow"].logits.grad is None
    assert (module["wide"].logits.grad > 0).all()


@pytest.mark.parametrize("name", ["SelectK", "SelectK_LeaveOneOut"])
def test_k_follows_the_target(name: str) -> None:
    gate, controller = ALL[name](16), BudgetController(4)
    for progress, k in [(0.0, 16), (0.25, 16), (0.5, 8), (0.75, 4), (1.0, 4)]:
        controller.add_gradient(gate, progress)
        assert gate.k == k
        assert int(gate.open().sum()) == k
    assert gate.logits.grad is None
    assert not controller.weights
    pair = nn.ModuleDict({"a": SelectK(8, 8), "b": SelectK(4, 4)})
    BudgetController(0.5).add_gradient(pair, 1.0)
    assert (pair["a"].k, pair["b"].k) == (4, 2)


def test_gates_that_are_held_get_no_gradient_and_stay() -> None:
    module = network(5, 5)
    first, second = layers(module)
    first.decide(torch.tensor([True, True, False, False, False]), hold=True)
    controller = BudgetController(4)
    controller.add_gradient(module, 0.9)
    assert location(first).grad is None
    assert location(second).grad is not None
    assert (location(second).grad > 0).all()
    cost = 2 + float(torch.sigmoid(location(second).detach()).sum())  # the first layer costs what it is held at
    assert controller.expected[""] == pytest.approx(cost)
    assert float(expected_cost(module).detach()) == pytest.approx(cost)
    controller.decide(module, progress=0.1)
    assert first.held
    assert not second.held
    controller.decide(module)
    assert number_open(module) == [2, 2]
    assert first.open().tolist() == [True, True, False, False, False]
    second.decide(hold=True)
    location(second).grad = None
    controller.add_gradient(module, 0.9)
    assert location(second).grad is None


def test_parameters_that_do_not_learn_get_no_gradient() -> None:
    module = network(5, 5)
    location(layers(module)[0]).requires_grad_(False)
    BudgetController(2).add_gradient(module, 0.9)
    assert location(layers(module)[0]).grad is None
    assert location(layers(module)[1]).grad is not None


def test_gates_reach_the_budget_in_a_loop() -> None:
    """Independent gates of no use, and an expected cost that arrives where it should."""
    for gate in (Gate(20, GumbelSoftmax()), HardConcrete(20), StochasticGate(20), Gate(20, DisARM())):
        controller = BudgetController(4, two_sided=True)
        optimizer = torch.optim.Adam([location(gate)], lr=0.1, betas=(0.9, 0.99))
        for step in range(150):
            optimizer.zero_grad()
            controller.add_gradient(gate, step / 150)
            optimizer.step()
        assert float(expected_cost(gate).detach()) == pytest.approx(4, rel=0.2)


def test_the_state_of_a_controller() -> None:
    controller, gate = BudgetController(2), Gate(10)
    for _ in range(3):
        controller.add_gradient(gate, 0.9)
    other = BudgetController(2)
    other.load_state_dict(controller.state_dict())
    assert other.multipliers == controller.multipliers != {}
    controller.add_gradient(gate, 0.9)
    assert other.multipliers != controller.multipliers
    other.add_gradient(gate, 0.9)
    assert other.weights == controller.weights


def test_costs() -> None:
    module = network(3, 2)
    wanted = sum(float(torch.sigmoid(location(each).detach()).sum()) for each in layers(module))
    assert float(expected_cost(module).detach()) == pytest.approx(wanted)
    assert deployed_cost(module) == sum(int((location(each) > 0).sum()) for each in layers(module))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"target": 0}, "an int of 1 or more"),
        ({"target": 1.5}, r"got 1\.5"),
        ({"target": 1.0}, r"a float between 0 and 1\), got 1\.0"),
        ({"target": True}, "got True"),
        ({"target": float("nan")}, "got nan"),
        ({"target": 2, "start": 0.8}, "start=0.8, end=0.75, settle=0.85"),
        ({"target": 2, "settle": 1.1}, "settle=1.1"),
        ({"target": 2, "start": -0.1}, "start=-0.1"),
        ({"target": 2, "scope": "network"}, "scope must be 'whole' or 'layer', got 'network'"),
        ({"target": 2, "scope": "layer", "cost": priced}, "scope='layer' counts the open gates"),
        ({"target": 2, "integral": -1.0}, "integral"),
        ({"target": 2, "proportional": -1.0}, "proportional"),
        ({"target": 2, "most": 0.0}, "most"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told) as error:
        BudgetController(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_budgets_that_nothing_meets() -> None:
    module = network(4, 6)
    with pytest.raises(BudgetError, match=r"the budget is 11, and all gates together cost 10: lower target"):
        BudgetController(11).check(module)
    one = r"the budget is 1, and with one gate left in each layer the cost is 2( \(of 10\))?: raise target"
    with pytest.raises(BudgetError, match=one):
        BudgetController(1).check(module)
    with pytest.raises(BudgetError, match=one):
        BudgetController(1).decide(module)
    with pytest.raises(BudgetError, match=r"the budget of g0 is 5, and all gates together cost 4: lower target"):
        BudgetController(5, scope="layer").check(module)
    for call in (BudgetController(1).check, expected_cost, deployed_cost):
        with pytest.raises(ValueError, match="Linear has no gates: put a Gate"):
            call(nn.Linear(2, 2))
