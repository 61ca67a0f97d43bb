"""NormalizedMutualInformation against its definition, term by term."""

import math
from collections import Counter

import pytest
import torch

from discrete_lightning.metrics import NormalizedMutualInformation
from tests.references.inputs import seeded


def naive(first: list[int], second: list[int]) -> float:
    count = len(first)
    one, two, both = Counter(first), Counter(second), Counter(zip(first, second, strict=True))
    information = sum(n / count * math.log(n * count / (one[a] * two[b])) for (a, b), n in both.items())
    entropies = [-sum(n / count * math.log(n / count) for n in each.values()) for each in (one, two)]
    return 2 * information / sum(entropies)


def test_equals_its_definition_over_several_updates() -> None:
    generator = seeded(0)
    first = torch.randint(4, (3, 50), generator=generator)
    second = (first + torch.randint(2, (3, 50), generator=generator)) % 5
    metric = NormalizedMutualInformation(4, 5)
    for a, b in zip(first, second, strict=True):
        metric.update(a, b)
    expected = naive(first.flatten().tolist(), second.flatten().tolist())
    assert metric.compute().item() == pytest.approx(expected, abs=1e-6)


def test_names_of_labels_do_not_matter() -> None:
    labels = torch.randint(6, (200,), generator=seeded(1))
    metric = NormalizedMutualInformation(6, 6)
    metric.update(labels, torch.randperm(6, generator=seeded(2))[labels])
    assert metric.compute().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("constant", [0, 2])
def test_a_constant_labelling_says_nothing(constant: int) -> None:
    labels = torch.randint(3, (50,), generator=seeded(3))
    metric = NormalizedMutualInformation(3, 3)
    metric.update(torch.full_like(labels, constant), labels)
    assert metric.compute().item() == 0
    metric.reset()
    metric.update(torch.full_like(labels, constant), torch.full_like(labels, constant))
    assert metric.compute().item() == 0


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one label each, got 0 and 3"):
        NormalizedMutualInformation(0, 3)
    with pytest.raises(ValueError, match=r"got \(3,\) and \(2,\)"):
        NormalizedMutualInformation(2, 2).update(torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
