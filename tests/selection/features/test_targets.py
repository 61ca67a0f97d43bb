"""Losses of classes and numbers, one target or several, against torch's functions; how tables and targets are encoded."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from discrete_lightning.selection.features.encoded import encoded_targets, standardized
from discrete_lightning.selection.features.targets import class_targets, number_targets
from tests.references.inputs import seeded

LABELS = torch.tensor([[0, 2], [1, 0], [0, 1], [0, 2], [1, 2], [0, 0], [1, 1], [0, 2]])


def entropy(labels: torch.Tensor) -> float:
    shares = [float((labels == each).double().mean()) for each in labels.unique()]
    return -sum(p * math.log(p) for p in shares)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("leading", [(), (3,)], ids=str)
def test_classes(leading: tuple[int, ...], targets: int) -> None:
    labels = LABELS[:, :targets]
    found = class_targets(labels if targets > 1 else labels[:, 0])
    assert found.classes == (2, 3)[:targets]
    assert found.outputs == sum(found.classes)
    outputs = torch.randn(*leading, 8, found.outputs, generator=seeded(0)).requires_grad_()
    losses = found.losses(outputs, found.values)
    wanted = torch.zeros(*leading, 8)
    for t, part in enumerate(outputs.split(found.classes, -1)):
        label = labels[:, t].expand(*leading, 8)
        each = torch.nn.functional.cross_entropy(part.reshape(-1, part.shape[-1]), label.reshape(-1), reduction="none")
        wanted = wanted + each.view(*leading, 8) / entropy(labels[:, t]) / targets
    torch.testing.assert_close(losses, wanted)
    v = torch.randn(losses.shape, generator=seeded(1))
    slopes = [torch.autograd.grad((each * v).sum(), outputs)[0] for each in (losses, wanted)]
    torch.testing.assert_close(*slopes)


def test_what_knows_the_shares_alone_loses_1() -> None:
    found = class_targets(LABELS)
    shares = [LABELS[:, t].bincount() / 8 for t in range(2)]
    outputs = torch.cat([each.log() for each in shares]).expand(8, 5)
    assert found.losses(outputs, found.values).mean().item() == pytest.approx(1, abs=1e-5)
    values = torch.randn(50, 3, generator=seeded(2)) * 5 + 7
    numbers = number_targets(values)
    assert numbers.losses(torch.zeros(50, 3), numbers.values).mean().item() == pytest.approx(1, abs=1e-5)


def test_a_class_that_is_nearly_alone() -> None:
    """Entropy .01 would make one row weigh as much as all others: it counts as .1."""
    labels = torch.zeros(1000, dtype=torch.int64)
    labels[0] = 1
    found = class_targets(labels)
    losses = found.losses(torch.zeros(1000, 2), found.values)
    torch.testing.assert_close(losses, torch.full((1000,), math.log(2) / 0.1))


@pytest.mark.parametrize("targets", [1, 3])
def test_numbers(targets: int) -> None:
    values = torch.randn(40, targets, generator=seeded(3)).double() * 3 + 100
    found = number_targets(values if targets > 1 else values[:, 0])
    assert (found.outputs, found.classes, found.values.dtype) == (targets, (), torch.float32)
    outputs = torch.randn(2, 40, targets, generator=seeded(4))
    losses = found.losses(outputs, found.values)
    in_units = outputs.double() * values.std(0, unbiased=False) + values.mean(0)
    wanted = ((in_units - values).square() / values.var(0, unbiased=False)).mean(-1)
    torch.testing.assert_close(losses.double(), wanted, rtol=1e-4, atol=1e-5)


def test_numbers_that_do_not_vary() -> None:
    found = number_targets(torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))
    assert found.values[:, 1].tolist() == [0, 0, 0]
    assert found.values[:, 0].tolist() == pytest.approx([-1.2247, 0, 1.2247], abs=1e-4)


def test_indicators() -> None:
    found = class_targets(LABELS)
    hot = torch.stack([LABELS[:, 0] == 0, LABELS[:, 0] == 1, *(LABELS[:, 1] == c for c in range(3))], 1).float()
    torch.testing.assert_close(found.centered(), hot - hot.mean(0))
    columns = found.columns()  # one of two classes is enough
    assert columns.shape == (8, 4)
    wanted = hot[:, 1:] - hot[:, 1:].mean(0)
    torch.testing.assert_close(columns, wanted / wanted.std(0, unbiased=False))
    numbers = number_targets(torch.randn(9, 2, generator=seeded(5)))
    assert torch.equal(numbers.centered(), numbers.columns())


def test_tables() -> None:
    rng = np.random.RandomState(0)
    table = rng.randn(200, 4) * [1, 100, 1e-6, 1] + [0, 1e5, 3, 0]
    table[0, 0] = 50.0
    table = np.concatenate([table, np.full((200, 1), 0.1)], 1)
    x, varies = standardized(table)
    assert x.dtype == np.float32
    assert varies.tolist() == [True] * 4 + [False]
    assert np.abs(x[:, 4]).max() < 1e-12
    wanted = np.clip((table[:, :4] - table[:, :4].mean(0)) / table[:, :4].std(0), -4, 4)
    np.testing.assert_allclose(x[:, :4], wanted, atol=1e-3)
    assert x[0, 0] == 4.0


X = np.random.RandomState(0).randn(120, 3)
NUMBERS, WHOLE = np.random.RandomState(1).randn(120), np.arange(120) % 30


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (NUMBERS, None),
        (np.array([0.5, 1.5] * 60), None),  # numbers that are not whole
        (WHOLE.astype(float), None),  # 30 whole numbers, as floats
        ((WHOLE % 20).astype(float), 20),
        (WHOLE, 30),  # as integers they are labels
        (np.arange(120), None),  # more than 100 of them
        (np.arange(120) % 100, 100),
        (np.array(["b", "a", "c"] * 40), 3),
        (np.array(["b", "a"] * 60, dtype=object), 2),
        (np.array([True, False] * 60), 2),
        (np.stack([NUMBERS, NUMBERS], 1), None),
        (np.stack([NUMBERS, WHOLE % 2], 1), None),  # a number among them
        (None, None),
    ],
)
def test_numbers_or_classes(y: Any, classes: int | None) -> None:
    targets, names = encoded_targets(X, y, "auto")
    assert targets.classes == (() if classes is None else (classes,))
    assert (names is None) == (classes is None)
    if y is not None and classes is None:
        wanted = np.asarray(y, float).reshape(120, -1)
        np.testing.assert_allclose(targets.values, (wanted - wanted.mean(0)) / wanted.std(0), atol=1e-5)
    if classes is not None:
        assert (names[targets.values[:, 0]] == y).all()


def test_a_task_that_is_given() -> None:
    targets, names = encoded_targets(X, WHOLE % 2, "regression")
    assert (targets.classes, names) == ((), None)
    targets, names = encoded_targets(X, (WHOLE % 30).astype(float), "classification")
    assert targets.classes == (30,)
    targets, names = encoded_targets(X, np.stack([WHOLE % 2, WHOLE % 3], 1), "auto")
    assert targets.classes == (2, 3)
    assert [each.tolist() for each in names] == [[0, 1], [0, 1, 2]]
    targets, _ = encoded_targets(np.concatenate([X, np.ones((120, 1))], 1), None, "auto")
    assert targets.outputs == 3  # a constant column is not predicted
