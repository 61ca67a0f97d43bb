"""Budgets are met exactly by what is deployed, and by the best gates."""

import pytest
import torch
from torch import nn

from discrete_lightning.selection import (
    BudgetController,
    BudgetError,
    Gate,
    SelectK,
    StochasticGate,
    deployed_cost,
)
from tests.selection.gated import PRICES, layers, network, number_open, priced, scattered
from tests.selection.gates.makers import ALL, each_of_all, location


@pytest.mark.parametrize("k", [1, 2, 5, 9, 10])
@each_of_all
def test_k_gates_are_open_and_the_best_ones(name: str, k: int) -> None:
    gate = scattered(ALL[name](10))
    controller = BudgetController(k)
    controller.check(gate)
    controller.decide(gate)
    assert gate.held
    best = location(gate).detach().topk(k).indices
    assert torch.equal(gate.open(), torch.zeros(10, dtype=torch.bool).index_fill(0, best, True))
    assert deployed_cost(gate) == k


@pytest.mark.parametrize(("share", "k"), [(0.3, 3), (0.1, 1), (0.999, 9), (0.29, 2), (0.7, 7), (0.35, 3)])
def test_shares(share: float, k: int) -> None:
    for gate in (Gate(10), SelectK(10, 10), StochasticGate(10)):
        scattered(gate)
        BudgetController(share).decide(gate)
        assert int(gate.open().sum()) == k
        if isinstance(gate, SelectK):
            assert gate.k == k


def test_one_budget_for_the_whole_network() -> None:
    module = network(4, 6)
    for k in range(2, 11):
        for each in layers(module):
            each.undecide()
        BudgetController(k).decide(module)
        assert sum(number_open(module)) == k
        scores = torch.cat([each.scores() for each in layers(module)])
        open = torch.cat([each.open() for each in layers(module)])
        forced = [int(each.scores().argmax()) + place for each, place in zip(layers(module), (0, 4), strict=True)]
        free = [i for i in range(10) if i not in forced]
        if any(not open[i] for i in free) and any(open[i] for i in free):  # the best ones beside one of each layer
            assert min(scores[i] for i in free if open[i]) > max(scores[i] for i in free if not open[i])


def test_no_layer_is_left_without_a_gate_unless_it_may_be() -> None:
    module = network(4, 6)
    with torch.no_grad():
        location(layers(module)[0]).sub_(50)
    BudgetController(2).decide(module)
    assert number_open(module) == [1, 1]
    for each in layers(module):
        each.undecide()
    layers(module)[0].least = 0
    BudgetController(2).decide(module)
    assert number_open(module) == [0, 2]


@pytest.mark.parametrize(("target", "wanted"), [(2, [2, 2, 2]), (0.5, [2, 3, 4])])
def test_a_budget_of_each_layer(target: float, wanted: list[int]) -> None:
    module = network(4, 6, 8)
    controller = BudgetController(target, scope="layer")
    controller.check(module)
    assert list(controller.groups(module)) == ["g0", "g1", "g2"]
    controller.decide(module)
    assert number_open(module) == wanted


def test_a_shared_layer_counts_once() -> None:
    gate = scattered(Gate(5))
    module = nn.Sequential(gate, nn.Identity(), gate)
    assert deployed_cost(module) == int(gate.open().sum())
    BudgetController(0.4).decide(module)
    assert number_open(module) == [2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [3, 0.35, 0.8])
def test_another_cost(budget: float, seed: int) -> None:
    """Never above the budget, the best gates first, and nothing left over that would still fit."""
    gate = scattered(Gate(8), seed)
    controller = BudgetController(budget, priced)
    controller.decide(gate)
    limit = budget if isinstance(budget, int) else budget * float(PRICES.sum())
    cost = float(PRICES[gate.open()].sum())
    affordable = [i for i in gate.scores().argsort(descending=True).tolist() if PRICES[i] <= limit]
    assert gate.open()[affordable[0]]
    assert deployed_cost(gate, priced) == pytest.approx(cost)
    assert cost <= limit * (1 + 1e-6)
    left = PRICES[~gate.open()]
    assert cost >= limit * (1 - 1e-3) or (left > limit - cost).all()


@each_of_all
def test_the_decision_of_an_evaluation_is_not_held(name: str) -> None:
    gate = scattered(ALL[name](10))
    controller = BudgetController(2)
    controller.decide(gate, progress=0.0)
    assert number_open(gate) == [10]
    assert not gate.held
    controller.decide(gate, progress=0.5)
    assert number_open(gate) == [4]  # 10 (2 / 10) ** .5 = 4.47
    controller.decide(gate, progress=0.85)
    assert number_open(gate) == [2]
    assert gate.held
    with torch.no_grad():
        location(gate).neg_()
    before = gate.decision.clone()
    controller.decide(gate)
    assert torch.equal(gate.decision, before)


def test_a_layer_keeps_what_can_be_paid() -> None:
    """Where its best gate alone costs too much, as long as another one does not; several layers, more than one gate left."""
    first, second = Gate(8), Gate(8)
    with torch.no_grad():
        first.logits.copy_(torch.tensor([3.0, 0, 2, 1, -1, -2, -3, -4]))
        second.logits.copy_(torch.tensor([3.0, 2, 1, 0, -1, -2, -3, -4]))
    first.least = 2
    module = nn.ModuleList([first, second])
    for budget, wanted in [
        (2, ([1, 3], [3])),  # the cheapest there are: .5 + 1 + .5
        (4, ([2, 3], [1, 3])),  # 2 + .5 + 1, and .5 is left
        (11, None),  # what is left over is used up by exchanges
    ]:
        for each in (first, second):
            each.undecide()
        controller = BudgetController(budget, priced)
        controller.check(module)
        controller.decide(module)
        assert deployed_cost(module, priced) <= budget
        if wanted is None:
            left = budget - deployed_cost(module, priced)
            assert all((PRICES[~each.open()] > left).all() for each in (first, second))  # nothing that would still fit
            continue
        for each, part in zip((first, second), wanted, strict=True):
            assert each.open().nonzero()[:, 0].tolist() == part, budget
    for each in (first, second):
        each.undecide()
    with pytest.raises(BudgetError, match="the budget is 1, and with one gate left in each layer the cost is 2"):
        BudgetController(1, priced).check(module)
