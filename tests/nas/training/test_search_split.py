import pytest
import torch

from discrete_lightning.data import SearchSplit
from tests.tiny_images import TinyImages, tiny_split


def test_halves_are_disjoint_and_whole() -> None:
    weights, architecture = tiny_split().halves()
    assert sorted([*weights.tolist(), *architecture.tolist()]) == list(range(96))
    assert len(weights) == len(architecture)


def test_batches_are_of_the_halves() -> None:
    split = tiny_split()
    pixels = split.data.dataset("train").pixels.float().div(255)
    served = {"weights": [], "architecture": []}  # type: dict[str, list[torch.Tensor]]
    for batch, _, _ in split.train_dataloader():
        for name, (images, _) in batch.items():
            served[name].append(images[:, 0])
    for name, half in zip(served, split.halves(), strict=True):
        seen = torch.cat(served[name])
        assert len(seen) == 48
        assert torch.equal(seen.flatten(1).sum(1).sort().values, pixels[half].flatten(1).sum(1).sort().values)


def test_every_epoch_has_an_order_of_its_own() -> None:
    loader = tiny_split().train_dataloader().iterables["weights"]
    orders = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        orders.append(list(loader.sampler))
    assert orders[0] == orders[2] != orders[1]


def test_halves_have_orders_of_their_own() -> None:
    loaders = tiny_split().train_dataloader().iterables
    assert list(loaders["weights"].sampler) != list(loaders["architecture"].sampler)


def test_batches_too_large() -> None:
    with pytest.raises(ValueError, match="at most 48"):
        tiny_split(batch_size=49).train_dataloader()
    with pytest.raises(ValueError, match="at least 1"):
        SearchSplit(TinyImages(), batch_size=0)


def test_evaluation_is_the_other_modules() -> None:
    split = tiny_split(batch_size=24)
    assert len(next(iter(split.val_dataloader()))[1]) == 24
    assert len(next(iter(split.test_dataloader()))[1]) == 24
