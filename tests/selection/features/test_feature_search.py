"""The search: folds, gradients against one member at a time, seeds, planted columns, every kind of gate."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import LeaveOneOut
from discrete_lightning.selection import BudgetController, Gate, GateLayer, StochasticGate, gate_of
from discrete_lightning.selection.features.feature_search import (
    FeatureSearch,
    SearchSettings,
    folds_of,
    search_columns,
)
from discrete_lightning.selection.features.targets import Targets, class_targets, number_targets
from tests.references.every_estimator import EXPORTED
from tests.references.inputs import seeded

# Folds


@pytest.mark.parametrize("members", [2, 3, 5])
@pytest.mark.parametrize("rows", [7, 40, 101])
def test_folds_have_equal_sizes_and_shares_of_classes(rows: int, members: int) -> None:
    labels = (torch.rand(rows, generator=seeded(rows)) * 3).long()
    for targets in (class_targets(labels), number_targets(torch.randn(rows, generator=seeded(0)))):
        torch.manual_seed(0)
        folds = folds_of(targets, members)
        sizes = folds.bincount(minlength=members)
        assert sizes.sum() == rows
        assert sizes.max() - sizes.min() <= 1
        if targets.classes:
            for label in range(3):
                each = folds[labels == label].bincount(minlength=members)
                assert each.max() - each.min() <= 1
        torch.manual_seed(1)
        assert not torch.equal(folds_of(targets, members), folds)


# Gradients

FOLDS = torch.tensor([0, 0, 0, 1, 2, 2, 1, 0])


def search(gate: GateLayer, targets: Targets, **settings: Any) -> FeatureSearch:
    torch.manual_seed(0)
    return FeatureSearch(
        4, targets, gate, BudgetController(2), SearchSettings(members=3, hidden=5, **settings), [(0, 1), (2, 3, 3)]
    )


def batch(kind: str) -> tuple[Tensor, Targets]:
    x = torch.randn(8, 4, generator=seeded(1))
    if kind == "numbers":
        return x, number_targets(torch.randn(8, 2, generator=seeded(2)))
    return x, class_targets(torch.tensor([0, 1, 2, 0, 1, 2, 1, 0]))


def loss_of_row(module: FeatureSearch, member: int, gated: Tensor, y: Tensor) -> Tensor:
    """Of one network and one row (D,)."""
    outputs = module.network(gated.expand(3, 1, -1))[member, 0]
    return module.targets.losses(outputs.unsqueeze(0), y.unsqueeze(0))[0]


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("layer", [StochasticGate, Gate])
def test_gradients_of_one_member_and_one_row_at_a_time(layer: type[GateLayer], kind: str) -> None:
    x, targets = batch(kind)
    y = targets.values
    module = search(layer(4), targets)  # type: ignore[arg-type]
    (location,) = module.gate.parameters(recurse=False)
    torch.manual_seed(3)
    unseen = module.gradients(x, y, FOLDS, progress=0.15)
    found = {name: each.grad for name, each in module.network.named_parameters()}
    gate_gradient = location.grad

    torch.manual_seed(3)
    with torch.no_grad():
        drawn = module.gate.draw(torch.ones(24, 4)).view(3, 8, 4)  # for the networks
    places = [(m == FOLDS).nonzero()[:, 0].tolist() for m in range(3)]
    z = module.gate.sample((3 * 4,)).view(3, 4, 4)  # for the gates: the largest fold has 4 rows
    of_gates = torch.stack(
        [loss_of_row(module, m, x[row] * z[m, i], y[row]) for m in range(3) for i, row in enumerate(places[m])]
    ).mean()
    (wanted,) = torch.autograd.grad(of_gates, location)
    assert unseen.item() == pytest.approx(of_gates.item(), rel=1e-4)
    assert gate_gradient is not None
    assert wanted.any()
    torch.testing.assert_close(gate_gradient, wanted, rtol=1e-4, atol=1e-6)
    for member in range(3):
        rows = [row for row in range(8) if row not in places[member]]
        loss = torch.stack([loss_of_row(module, member, x[row] * drawn[member, row], y[row]) for row in rows]).mean()
        parts = torch.autograd.grad(loss, list(module.network.parameters()))
        for (name, gradient), part in zip(found.items(), parts, strict=True):
            assert gradient is not None
            torch.testing.assert_close(gradient[member], part[member] / 3, rtol=1e-4, atol=1e-6, msg=name)


def test_a_network_learns_nothing_from_its_own_fold_and_gates_nothing_from_others() -> None:
    x, targets = batch("numbers")
    module = search(StochasticGate(4), targets)
    found = []
    for changed in (False, True):
        y = targets.values.clone()
        if changed:
            y[FOLDS == 1] += 5
        torch.manual_seed(3)
        module.gradients(x, y, FOLDS, progress=0.15)
        found.append([each.grad.clone() for each in module.network.parameters() if each.grad is not None])
    assert len(found[0]) > 5
    for before, after in zip(*found, strict=True):
        assert torch.equal(before[1], after[1])
    assert all(not torch.equal(before[m], after[m]) for m in (0, 2) for before, after in zip(*found, strict=True))


def test_gates_stand_still_at_first_and_get_the_gradient_of_the_budget_later() -> None:
    x, targets = batch("classes")
    gate = StochasticGate(4)
    module = search(gate, targets)
    module.gradients(x, targets.values, FOLDS, progress=0.05)
    assert gate.mu.grad is None
    gradients = []
    for progress in (0.2, 0.7):
        torch.manual_seed(3)
        module.gradients(x, targets.values, FOLDS, progress=progress)
        assert gate.mu.grad is not None
        gradients.append(gate.mu.grad.clone())
    weight, target = module.controller.weights[""], module.controller.current(0.7, [gate])
    (slope,) = torch.autograd.grad(gate.open_probability().sum(), gate.mu)
    assert weight > 0
    torch.testing.assert_close(gradients[1] - gradients[0], weight / target * slope, rtol=1e-4, atol=1e-5)
    gate.decide(hold=True)
    module.gradients(x, targets.values, FOLDS, progress=0.9)
    assert gate.mu.grad is None


def test_losses_of_several_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an estimator that needs the loss is given: (draws, rows) of losses, each row with its own network."""
    x, targets = batch("classes")
    module = search(Gate(4, LeaveOneOut(samples=3)), targets)
    gated, seen = torch.randn(3, 12, 4, generator=seeded(5)), []

    def expectation(function: Any, rows: Tensor) -> Tensor:
        seen.extend([rows, function(gated), function(gated[0])])
        return module.gate.logits.sum() * torch.ones(12)  # type: ignore[operator,union-attr]

    monkeypatch.setattr(module.gate, "expectation", expectation)
    module.gradients(x, targets.values, FOLDS, progress=0.15)
    rows, losses, first = seen
    assert losses.shape == (3, 12)
    torch.testing.assert_close(first, losses[0])
    for m in range(3):
        for i, row in enumerate((m == FOLDS).nonzero()[:, 0].tolist()):
            assert torch.equal(rows[4 * m + i], x[row])
            for s in range(3):
                wanted = loss_of_row(module, m, gated[s, 4 * m + i], targets.values[row])
                torch.testing.assert_close(losses[s, 4 * m + i], wanted)


def test_rates_and_the_mean_of_the_networks() -> None:
    x, targets = batch("classes")
    module = search(Gate(4), targets, learning_rate=0.01, gate_learning_rate=0.02)
    optimizer = module.optimizer()
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.06]  # log-odds have a wider range
    assert [group["lr"] for group in search(StochasticGate(4), targets).optimizer().param_groups] == [3e-3, 3e-2]
    for progress, share in [(0.0, 1.0), (0.75, 1.0), (0.875, 0.55), (1.0, 0.05)]:
        module.set_rate(optimizer, progress)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * share)
    module.gate.decide(torch.tensor([True, False, True, True]))
    module.eval()
    z = x * torch.tensor([1.0, 0, 1, 1])
    torch.testing.assert_close(module(x), module.network(z.expand(3, 8, 4)).mean(0))


# Searches


def parity(rows: int, columns: int, which: list[int], seed: int) -> tuple[Tensor, Targets]:
    x = torch.randn(rows, columns, generator=seeded(seed))
    return x, class_targets((x[:, which].prod(1) > 0).long())


QUICK = SearchSettings(members=3, hidden=16, steps=200, batch_size=180, products=0, exchange=False)


def open_columns(module: FeatureSearch) -> list[int]:
    return module.gate.open().nonzero()[:, 0].tolist()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_pair_that_matters_only_together(seed: int) -> None:
    """xor of two of 12 columns, found without products."""
    x, targets = parity(500, 12, [4, 9], seed)
    settings = SearchSettings(**{**vars(QUICK), "steps": 250, "hidden": 24})
    module, course = search_columns(x, targets, StochasticGate(12), BudgetController(2, two_sided=True), settings, seed)
    assert open_columns(module) == [4, 9]
    assert course.losses[-1] < 0.8
    assert course.expected[0] > 9
    assert course.expected[-1] < 4
    assert len(course.progress) == len(course.probabilities) == len(course.losses) == 125
    assert all(each.shape == (12,) and not each.requires_grad for each in course.probabilities)
    correct = (module(x).argmax(1) == targets.values[:, 0]).float().mean()
    assert correct > 0.8


def test_three_that_matter_only_together_by_products() -> None:
    x, targets = parity(400, 12, [2, 5, 11], 0)
    settings = SearchSettings(**{**vars(QUICK), "steps": 120, "products": 4})
    module, _ = search_columns(x, targets, StochasticGate(12), BudgetController(3, two_sided=True), settings)
    assert open_columns(module) == [2, 5, 11]
    assert (2, 5, 11) in module.network.products


WORDS = [
    "stochastic",
    "hard_concrete",
    "bernoulli",
    "select_k",
    *(type(each).__name__ for each in EXPORTED if each.softmax),
]


@pytest.mark.parametrize("word", WORDS)
def test_every_gate_ends_with_k_columns(word: str) -> None:
    x, targets = parity(60, 6, [0, 1], 0)
    settings = SearchSettings(members=2, hidden=8, steps=24, batch_size=40)
    for k in (1, 4):
        gate = gate_of(word, 6)
        before = torch.get_rng_state()
        module, course = search_columns(x, targets, gate, BudgetController(k, two_sided=True), settings)
        assert torch.equal(torch.get_rng_state(), before)
        assert int(gate.open().sum()) == k
        assert gate.held
        assert not module.training
        assert all(math.isfinite(each) for each in course.losses)
        assert all(each.isfinite().all() for each in module.parameters())


@pytest.mark.parametrize("word", ["stochastic", "select_k", "LeaveOneOut"])
def test_the_seed_decides_alone(word: str) -> None:
    x, targets = parity(60, 6, [0, 1], 0)
    settings, found = SearchSettings(members=2, hidden=8, steps=20, batch_size=40), []
    for seed, state in [(3, 0), (3, 1), (4, 0)]:
        torch.manual_seed(state)
        gate = gate_of(word, 6)
        before = torch.get_rng_state()
        with torch.no_grad():
            module, course = search_columns(x, targets, gate, BudgetController(2), settings, seed)
        assert torch.equal(torch.get_rng_state(), before)
        found.append((module.gate.scores(), [*module.network.parameters()], course.losses))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][2] == found[1][2] != found[2][2]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


def test_gates_that_were_used_before_start_anew() -> None:
    x, targets = parity(60, 6, [0, 1], 0)
    settings, found = SearchSettings(members=2, hidden=8, steps=20, batch_size=40), []
    gate = gate_of("stochastic", 6)
    for _ in range(2):
        search_columns(x, targets, gate, BudgetController(2), settings)
        found.append(gate.scores())
    assert torch.equal(*found)


def test_few_rows() -> None:
    for rows in (2, 3, 5):
        x = torch.randn(rows, 3, generator=seeded(0))
        targets = number_targets(torch.randn(rows, generator=seeded(1)))
        settings = SearchSettings(members=2, hidden=4, steps=3)
        module, _ = search_columns(x, targets, StochasticGate(3), BudgetController(1), settings)
        assert int(module.gate.open().sum()) == 1


def test_a_budget_that_nothing_meets_is_told_first() -> None:
    x, targets = parity(60, 6, [0, 1], 0)
    settings = SearchSettings(members=2, steps=10**9)
    with pytest.raises(ValueError, match="the budget is 7, and all gates together cost 6"):
        search_columns(x, targets, StochasticGate(6), BudgetController(7), settings)


@pytest.mark.parametrize("name", ["members", "hidden", "steps", "batch_size", "products"])
def test_settings_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least [0-2], got -1"):
        SearchSettings(**{name: -1})
