"""Two ranks: each draws noise of its own, and all decide alike."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from discrete_lightning.distributed import average_over_ranks, rank
from discrete_lightning.selection import BudgetController, GateLayer
from tests.ranks import run_on_ranks
from tests.selection.gates.makers import ALL, GATES, location

Result = dict[str, dict[str, Tensor]]


def _draws(gate: GateLayer, x: Tensor) -> Tensor:
    seen: list[Tensor] = []

    def function(gated: Tensor) -> Tensor:
        seen.append(gated.detach().reshape(-1, *x.shape)[0])
        return gated.sum(-1)

    gate.expectation(function, x)
    return seen[0]


def _trained(make: Callable[..., GateLayer]) -> tuple[Tensor, Tensor, Tensor]:
    """(decision, location, multiplier) after gradients of each rank's own rows, averaged."""
    torch.manual_seed(0)
    gate, controller = make(8), BudgetController(3)
    optimizer = torch.optim.SGD([location(gate)], lr=0.5)
    worth = torch.linspace(1, -1, 8)
    for step in range(12):
        torch.manual_seed(step)  # equal on the ranks, as after seed_everything
        x = torch.ones(16, 8) + 0.1 * rank()
        losses = gate.expectation(lambda gated: -(gated @ worth), x)
        (slope,) = torch.autograd.grad(losses.mean(), location(gate), allow_unused=True)
        slope = torch.zeros(8) if slope is None else slope
        location(gate).grad = average_over_ranks([slope])[0]
        controller.add_gradient(gate, step / 12)
        optimizer.step()
    controller.decide(gate)
    return gate.decision, location(gate).detach(), torch.tensor(list(controller.multipliers.values()))


def on_a_rank() -> Result:
    found: Result = {}
    for name, make in ALL.items():
        torch.manual_seed(0)
        gate, x = make(8), torch.ones(60, 8)
        decision, learned, multiplier = _trained(make)
        found[name] = {"draw": gate.draw(x), "expectation": _draws(gate, x)}
        if name in GATES:
            found[name]["forward"] = gate(x).detach()
        found[name] |= {"decision": decision, "learned": learned, "multiplier": multiplier, "after": torch.rand(3)}
    return found


@pytest.fixture(scope="module")
def ranks() -> list[Result]:
    return run_on_ranks(on_a_rank)


CALLS = [(name, call) for name in ALL for call in ("draw", "expectation", *(["forward"] if name in GATES else []))]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_each_rank_draws_noise_of_its_own(ranks: list[Result], name: str, call: str) -> None:
    first, second = (each[name][call].flatten() for each in ranks)
    assert not torch.equal(first, second)
    assert first.std() > 0
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.25  # 480 entries: more than 5 deviations


@pytest.mark.parametrize("name", ALL)
def test_all_ranks_decide_alike(ranks: list[Result], name: str) -> None:
    first, second = (each[name] for each in ranks)
    for key in ("decision", "learned", "multiplier", "after"):
        assert torch.equal(first[key], second[key]), key
    assert int(first["decision"].sum()) == 3
