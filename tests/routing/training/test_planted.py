"""PlantedExperts and DigitSources hold what their documentation says."""

import pytest
import torch

from discrete_lightning.data import Digits, DigitSources, PlantedExperts


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


@pytest.mark.parametrize(("page", "size"), [(1, 28), (10, 14), (8, 28)])
def test_sources_are_transforms_of_the_digits(page: int, size: int) -> None:
    data = DigitSources(batch_size=8, page=page, size=size)
    images, labels, source = data.dataset("test").tensors
    digits, pages = Digits().dataset("test"), 500 // page
    assert source.tolist() == [0, 1, 2, 3] * pages
    assert images.shape == ((4 * pages, size**2) if page == 1 else (4 * pages, page, size**2))
    assert labels.shape == images.shape[:-1]
    images, labels = images.view(-1, 4, page, size, size), labels.view(-1, 4, page)
    undone = [images[:, 0], -images[:, 1], images[:, 2].mT]
    plain = torch.nn.functional.avg_pool2d(digits.pixels.float().view(-1, 1, 28, 28), 28 // size)
    plain = torch.nn.functional.layer_norm(plain[:, 0], (size, size))
    known = {bytes(each.numpy().tobytes()): int(label) for each, label in zip(plain, digits.labels, strict=True)}
    for number, mine in enumerate(undone):
        found = [known[bytes(each.contiguous().numpy().tobytes())] for each in mine.flatten(0, 1)]
        assert found == labels[:, number].flatten().tolist()
        assert mine.flatten(0, 1).flatten(1).unique(dim=0).shape[0] == pages * page  # no digit twice
    values = {bytes(each.numpy().tobytes()) for each in plain.flatten(1).sort(1).values}
    permuted = images[:, 3].flatten(0, 1).flatten(1)
    assert {bytes(each.numpy().tobytes()) for each in permuted.sort(1).values} <= values
    assert not torch.equal(permuted.sort(0).values, images[:, 0].flatten(0, 1).flatten(1).sort(0).values)
    torch.testing.assert_close(images.flatten(-2).mean(-1), torch.zeros(len(images), 4, page), rtol=0, atol=1e-5)


def test_training_does_not_see_sources() -> None:
    data = DigitSources(batch_size=8, page=1, size=28)
    assert len(next(iter(data.train_dataloader()))) == 2
    assert [len(data.dataset(split)) for split in ("train", "validation", "test")] == [16_000, 2_000, 2_000]
    rows = {
        split: {bytes(x.numpy().tobytes()) for x in data.dataset(split).tensors[0][::4]} for split in ("train", "test")
    }
    assert not rows["train"] & rows["test"]
    again = DigitSources(batch_size=8, page=1, size=28, seed=1)
    assert not torch.equal(again.dataset("test").tensors[0], data.dataset("test").tensors[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"page": 0}, "page"),
        ({"page": 501}, "at most the 500"),
        ({"size": 20}, "size is 28, or 14"),
        ({"batch_size": 0}, "1 or"),
    ],
)
def test_bad_arguments_of_sources(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitSources(**arguments)
