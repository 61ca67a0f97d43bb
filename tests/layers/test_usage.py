import pickle

import numpy as np
import pytest
import torch
from torchmetrics import Metric

from discrete_lightning.metrics import CodePerplexity, CodeUsage, LiveCodes
from tests.references.inputs import seeded

K = 6
ALL = [CodePerplexity, LiveCodes, CodeUsage]
SHAPES = [(10,), (2, 3), (0,), (), (4, 2, 2), (1,)]


def batches() -> list[torch.Tensor]:
    """Code 5 never comes up."""
    generator = seeded(0)
    return [torch.randint(K - 1, shape, generator=generator) for shape in SHAPES]


def expected(kind: type[Metric], indices: list[torch.Tensor]) -> np.ndarray:
    counts = np.bincount(np.concatenate([x.numpy().ravel() for x in indices]), minlength=K)
    p = counts / max(1, counts.sum())
    if kind is CodeUsage:
        return p
    if kind is LiveCodes:
        return np.asarray(np.count_nonzero(counts))
    return np.exp(-np.sum(p[p > 0] * np.log(p[p > 0])))


@pytest.mark.parametrize("kind", ALL)
def test_over_several_updates_and_a_reset(kind: type[Metric]) -> None:
    metric = kind(K)
    for start in (0, 3):
        for number, indices in enumerate(batches()[start:], start + 1):
            metric.update(indices)
            np.testing.assert_allclose(metric.compute(), expected(kind, batches()[start:number]), rtol=1e-5)
        metric.reset()


@pytest.mark.parametrize("kind", ALL)
def test_calling_a_metric_gives_the_batch_and_keeps_the_epoch(kind: type[Metric]) -> None:
    metric, full = kind(K), [x for x in batches() if x.numel()]
    for indices in full:
        np.testing.assert_allclose(metric(indices), expected(kind, [indices]), rtol=1e-5)
    np.testing.assert_allclose(metric.compute(), expected(kind, full), rtol=1e-5)


def test_the_perplexity_of_an_epoch_is_not_the_mean_of_its_batches() -> None:
    metric = CodePerplexity(K)
    for code in range(4):
        assert metric(torch.full((8,), code)) == 1
    assert metric.compute().item() == pytest.approx(4)


@pytest.mark.parametrize(("kind", "value"), [(CodePerplexity, 0.0), (LiveCodes, 0.0), (CodeUsage, [0.0] * K)])
def test_nothing_seen(kind: type[Metric], value: float | list[float]) -> None:
    metric = kind(K)
    metric.update(torch.zeros(0, dtype=torch.int64))
    assert metric.compute().tolist() == value


@pytest.mark.parametrize("kind", ALL)
def test_padded_positions_do_not_count(kind: type[Metric]) -> None:
    """Whatever stands there; a mask may lack the last dimensions, or have 1 in their place."""
    indices = torch.randint(K - 1, (4, 7, 2), generator=seeded(0))
    mask = torch.rand(4, 7, 1, generator=seeded(1)) < 0.5
    metric = kind(K)
    metric.update(torch.where(mask, indices, 999), mask)
    np.testing.assert_allclose(metric.compute(), expected(kind, [indices[mask.squeeze(-1)]]), rtol=1e-5)
    of_sequences = kind(K)
    of_sequences.update(indices[:, :2], mask[:, :2, 0])  # (4, 2) for (4, 2, 2): not that of the last dimensions
    np.testing.assert_allclose(of_sequences.compute(), expected(kind, [indices[:, :2][mask[:, :2, 0]]]), rtol=1e-5)
    with pytest.raises(ValueError, match=r"a mask is bool, True at real positions, of shape \(4, 7, 2\)"):
        metric.update(indices, mask.int())
    metric.update(torch.full((3,), -1), torch.zeros(3, dtype=torch.bool))
    np.testing.assert_allclose(metric.compute(), expected(kind, [indices[mask.squeeze(-1)]]), rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_a_state_that_inference_mode_made(kind: type[Metric]) -> None:
    """As after Trainer.validate, before a fit."""
    metric = kind(K)
    with torch.inference_mode():
        metric.reset()
        metric.update(torch.tensor([0]))
    metric.update(torch.tensor([1]))
    assert metric.counts.tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("index", [K, K + 100, -1])
def test_indices_out_of_range_change_nothing(kind: type[Metric], index: int) -> None:
    metric = kind(K)
    metric.update(torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=f"code {index} is out of range for num_codes={K}"):
        metric.update(torch.tensor([2, index]))
    assert metric.counts.tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("num_codes", [0, -3])
def test_a_codebook_has_a_code(kind: type[Metric], num_codes: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {num_codes}"):
        kind(num_codes)


@pytest.mark.parametrize("kind", ALL)
def test_counts_survive_a_cast_of_the_model_and_a_pickle(kind: type[Metric]) -> None:
    """A bfloat16 counter would stop at 256."""
    model = torch.nn.ModuleDict({"metric": kind(K)}).to(torch.bfloat16)
    for _ in range(5):
        model["metric"].update(torch.arange(1000) % 3)
    model = pickle.loads(pickle.dumps(model))
    assert model["metric"].counts.tolist() == [1670, 1665, 1665, 0, 0, 0]
    assert model["metric"].compute().dtype == torch.float32
