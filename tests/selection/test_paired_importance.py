"""The importance of columns beside their knockoffs: antisymmetric, reproducible, and it finds what is planted."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.selection import _paired_gates, _paired_units
from discrete_lightning.selection._target import Target, class_target, number_target
from discrete_lightning.selection.paired_importance import paired_importance
from discrete_lightning.selection.statistics import gaussian_knockoffs, knockoff_select
from tests.references.inputs import seeded
from tests.selection.tables import correlated, false_and_found, planted


def problem(seed: int, rows: int = 300, columns: int = 40, true: int = 15) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Columns, knockoffs, a signal with some noise, and which columns matter."""
    generator = seeded(seed)
    x = correlated(rows, columns, 0.3, generator)
    mask, signs = planted(columns, true, generator)
    y = x @ signs * 0.5 + torch.randn(rows, dtype=torch.float64, generator=generator)
    return x, gaussian_knockoffs(x, generator=generator), y, mask


TASKS = {
    "regression": lambda y: y,
    "two outputs": lambda y: torch.stack([y, y.square()], dim=1),
    "two classes": lambda y: y > 0,
    "three classes": lambda y: (y > -1).long() + (y > 1) + 5,
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("gain", [0.03, -10.0])  # the second uses curves and gates in any case
def test_swapping_a_column_and_its_knockoff_changes_its_sign_alone(
    name: str, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("discrete_lightning.selection.paired_importance._GAIN", gain)
    x, k, y, _ = problem(0, rows=120, columns=12, true=5)
    task = "classification" if "classes" in name else "regression"
    w = paired_importance(x, k, TASKS[name](y), task, steps=20)
    swap = torch.arange(12) % 3 == 0
    swapped = paired_importance(torch.where(swap, k, x), torch.where(swap, x, k), TASKS[name](y), task, steps=20)
    # float32 sums in another order, through 20 steps of AdamW
    torch.testing.assert_close(swapped, torch.where(swap, -w, w), rtol=1e-3, atol=1e-4 * float(w.abs().max()))


@pytest.mark.parametrize("name", TASKS)
def test_finds_what_is_planted(name: str) -> None:
    x, k, y, mask = problem(1)
    w = paired_importance(x, k, TASKS[name](y), "classification" if "classes" in name else "regression")
    assert w.shape == (40,)
    assert w.dtype == torch.float32
    assert w[mask].mean() > 3 * w[~mask].abs().mean()


def test_finds_effects_without_a_slope() -> None:
    x, k, _, mask = problem(2, rows=500)
    y = x[:, mask].abs().sum(dim=1) + 0.5 * torch.randn(500, generator=seeded(3))
    selected = knockoff_select(paired_importance(x, k, y, "regression"), 0.2)
    assert false_and_found(selected, mask)[1] > 0.8


def test_gates_join_where_rows_held_out_agree() -> None:
    """A product of two columns has no slope and no curve of its own."""
    x, k, _, _ = problem(4, rows=600, columns=4, true=2)
    y = x[:, 0] * x[:, 2] + 0.1 * torch.randn(600, generator=seeded(5))
    w = paired_importance(x, k, y, "regression", steps=300)
    alone = paired_importance(x, k, y, "regression", hidden=0)
    assert set(w.topk(2).indices.tolist()) == {0, 2}
    assert w[[0, 2]].min() > 5 * w[[1, 3]].abs().max()
    assert w[[0, 2]].min() > 2 * alone.abs().max()


def test_signs_are_coins_where_nothing_matters() -> None:
    """30 tables of 30 columns: the part of positive signs is within 4 standard errors of a half."""
    positive, total, chosen = 0, 0, 0
    for run in range(30):
        x, k, _, _ = problem(run, rows=100, columns=30)
        w = paired_importance(x, k, torch.randn(100, generator=seeded(run)), "regression", hidden=0)
        positive, total = positive + int((w > 0).sum()), total + int((w != 0).sum())
        chosen += bool(knockoff_select(w, 0.1).any())
    assert abs(positive / max(1, total) - 0.5) < 4 * 0.5 / max(1, total) ** 0.5
    assert chosen <= 6


def test_reproducible_without_touching_global_randomness() -> None:
    x, k, y, _ = problem(6, rows=100, columns=8, true=3)
    state = torch.get_rng_state()
    first = paired_importance(x, k, y, "regression", steps=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, paired_importance(x, k, y, "regression", steps=10))
    assert not torch.equal(first, paired_importance(x, k, y, "regression", steps=10, seed=1))
    torch.testing.assert_close(first, paired_importance(x * 10 + 3, k * 10 + 3, y * 5 - 1, "regression", steps=10))
    with torch.no_grad():
        assert torch.equal(first, paired_importance(x, k, y, "regression", steps=10))


def test_labels_may_be_any_integers() -> None:
    x, k, y, _ = problem(7, rows=100, columns=8, true=3)
    w = paired_importance(x, k, y > 0, hidden=0)
    assert torch.equal(w, paired_importance(x, k, (y > 0).long() * 7 - 3, hidden=0))


@pytest.mark.parametrize("name", TASKS)
def test_residual_is_the_derivative_of_the_loss(name: str) -> None:
    _, _, y, _ = problem(8, rows=30, columns=6, true=2)
    make = class_target if "classes" in name else number_target
    target = make(TASKS[name](y))
    outputs = torch.randn(2, *target.values.shape, generator=seeded(9), requires_grad=True)
    (gradient,) = torch.autograd.grad(target.loss(outputs).sum(), outputs)
    torch.testing.assert_close(gradient, target.residual(outputs))


def test_lines_end_at_the_lasso() -> None:
    """The conditions of an optimum: |gradient| <= lambda, with equality where a coefficient is not 0."""
    x, _, y, _ = problem(10, rows=200, columns=10, true=4)
    phi = ((x - x.mean(dim=0)) / x.std(dim=0, correction=0)).float()
    target = number_target(y)
    train = torch.ones(2, 200)
    fits = _paired_units._Fits(phi, target, train, [0.1], torch.ones(1, 10))
    b = fits.coefficients[0, 0]
    gradient = phi.T @ target.residual(fits.outputs[0]).squeeze(1) / 200
    assert gradient.abs().max() <= 0.1 + 1e-3
    torch.testing.assert_close(gradient[b != 0], -0.1 * b[b != 0].sign(), atol=1e-3, rtol=0)
    assert 0 < (b != 0).sum() < 10


def test_importance_of_gates_is_the_mean_squared_derivative() -> None:
    generator = seeded(11)
    gates, first = torch.randn(1, 2, 3, generator=generator), torch.randn(1, 3, 4, generator=generator)
    last, pairs = torch.randn(1, 4, 2, generator=generator), torch.randn(20, 3, generator=generator)
    activity = torch.tanh(pairs @ first[0])
    measured = _paired_gates._importance(gates, first, last, activity[None])
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda p: torch.tanh(p @ first[0]) @ last[0], row) for row in pairs]
    )
    expected = gates.abs() * jacobian.square().sum(dim=1).mean(dim=0).sqrt()
    torch.testing.assert_close(measured, expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": torch.full((20, 3), float("nan"))}, "finite"),
        ({"x": torch.ones(20, 3)}, "one value"),
        ({"knockoffs": torch.randn(20, 4)}, r"\(20, 4\)"),
        ({"y": torch.zeros(19)}, r"\(19,\)"),
        ({"y": torch.zeros(20)}, "vary"),
        ({"y": torch.full((20,), float("nan"))}, "finite"),
        ({"task": "ranking"}, "'ranking'"),
        ({"task": "classification"}, "integer labels"),
        ({"task": "classification", "y": torch.zeros(20, dtype=torch.long)}, "two classes or more"),
        ({"hidden": -1}, "hidden=-1"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_arguments_are_checked(change: dict[str, object], words: str) -> None:
    x = torch.randn(20, 3, generator=seeded(12))
    arguments = {"x": x, "knockoffs": x.flip(0), "y": x[:, 0], "task": "regression"} | change
    with pytest.raises(ValueError, match=words):
        paired_importance(**arguments)


def test_target_scale_is_what_a_constant_leaves() -> None:
    assert class_target(torch.arange(10) % 2).scale == pytest.approx(0.5)
    assert isinstance(number_target(torch.arange(5.0)), Target)
