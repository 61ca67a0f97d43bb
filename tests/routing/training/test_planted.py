"""PlantedExperts and DigitSources hold what their documentation says."""

import pytest
import torch

from discrete_lightning.data import DigitSources, PlantedExperts


def test_each_region_is_linear_with_the_stated_noise() -> None:
    data = PlantedExperts(dim=4, regions=3, noise=0.2, rows=8 * 900, batch_size=8)
    x, y, region = data.dataset("test").tensors
    assert len(x) == 900
    for each in range(3):
        here = region == each
        assert here.sum() > 100
        solution = torch.linalg.lstsq(x[here], y[here]).solution
        deviation = (x[here] @ solution - y[here]).std()
        assert 0.17 < deviation < 0.22  # 0.2, within 5 standard errors
    everywhere = torch.linalg.lstsq(x, y).solution
    assert (x @ everywhere - y).square().mean() > 0.2  # one linear map does not do


def test_training_does_not_see_regions_and_shares_the_problem() -> None:
    data = PlantedExperts(rows=64, batch_size=8)
    assert len(next(iter(data.train_dataloader()))) == 2
    assert len(next(iter(data.val_dataloader()))) == 3
    again, other = PlantedExperts(rows=64, batch_size=8), PlantedExperts(rows=64, batch_size=8, seed=1)
    assert torch.equal(again.dataset("train").tensors[1], data.dataset("train").tensors[1])
    assert not torch.equal(other.dataset("train").tensors[1], data.dataset("train").tensors[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"regions": 0}, "regions must be at least 1"),
        ({"rows": 7}, "rows must be at least 8"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlantedExperts(**arguments)  # type: ignore[arg-type]


def test_sources_are_transforms_of_one_digit() -> None:
    data = DigitSources(batch_size=8)
    images, labels, source = next(iter(data.test_dataloader()))
    plain, inverted, transposed, permuted = images[4:8].view(4, 28, 28)
    assert source.tolist() == [0, 1, 2, 3] * 2
    assert labels[:4].unique().numel() == labels[4:].unique().numel() == 1
    assert torch.equal(inverted, -plain)
    assert torch.equal(transposed, plain.T)
    assert torch.equal(permuted.flatten().sort().values, plain.flatten().sort().values)
    assert not torch.equal(permuted, plain)
    assert -1 <= images.min() < images.max() <= 1


def test_training_does_not_see_sources() -> None:
    data = DigitSources(batch_size=8)
    assert len(next(iter(data.train_dataloader()))) == 2
    assert [len(data.dataset(split)) for split in ("train", "validation", "test")] == [16_000, 2_000, 2_000]
    rows = {
        split: {bytes(x.numpy().tobytes()) for x in data.dataset(split).tensors[0][::4]} for split in ("train", "test")
    }
    assert not rows["train"] & rows["test"]
