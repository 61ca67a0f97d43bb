"""Nats per character, and the share in form; ranks, resets and precision are in tests/tables/test_metrics.py."""

import pytest
import torch

from discrete_lightning.metrics import NatsPerCharacter, ShareInForm
from tests.references.inputs import seeded


def test_nats_over_characters_not_a_mean_of_batches() -> None:
    metric = NatsPerCharacter()
    nats = torch.rand(5, 7, generator=seeded(0), dtype=torch.float64)
    metric.update(nats[:1], 3)
    metric.update(nats[1:], torch.tensor([[10, 20], [1, 2]]))
    metric.update(torch.zeros(0), 0)
    assert metric.compute().item() == pytest.approx(nats.sum().item() / 36, rel=1e-6)


def test_many_small_terms_are_not_forgotten() -> None:
    metric = NatsPerCharacter()
    metric.update(torch.tensor(2.0**24), 1)
    for _ in range(1000):
        metric.update(torch.tensor(0.5), 0)
    assert metric.compute().item() == 2.0**24 + 500


def test_nan_is_seen() -> None:
    metric = NatsPerCharacter()
    metric.update(torch.tensor([1.0, float("nan")]), 2)
    assert metric.compute().isnan()


def test_nats_bad_input() -> None:
    with pytest.raises(ValueError, match="characters must be integers"):
        NatsPerCharacter().update(torch.ones(2), 3.5)
    with pytest.raises(ValueError, match="nats must be floating"):
        NatsPerCharacter().update(torch.ones(2, dtype=torch.int64), 3)


def test_share_of_those_judged() -> None:
    metric = ShareInForm()
    metric.update([None, None])
    assert metric.compute() == 0
    metric.update([True, None, False])
    metric.update(torch.tensor([[True, True], [True, False]]))
    metric.update([])
    assert metric.compute().item() == pytest.approx(4 / 6)
    assert metric.judged == 6


def test_share_bad_input() -> None:
    with pytest.raises(ValueError, match=r"a verdict is True, False or None \(not judged\), got 0.3"):
        ShareInForm().update([True, 0.3])
    with pytest.raises(ValueError, match=r"verdicts are bool, got torch\.float32"):
        ShareInForm().update(torch.ones(3))
