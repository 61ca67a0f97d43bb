import pickle

import torch
from torch import Tensor

from discrete_lightning.data.binarize import bernoulli_bits
from discrete_lightning.data.dataset import ImageDataset

DRAWS = 20_000
# 5 standard errors: a right sampler fails for one of the 256 grey values with probability 256 * 5.7e-7 = 1.5e-4
SIGMAS = 5.0


def assert_frequencies(bits: Tensor) -> None:
    """`bits` (DRAWS, 256) of 0 and 1: column v is 1 with probability v / 255."""
    expected = torch.arange(256) / 255
    error = (expected * (1 - expected) / DRAWS).sqrt()
    assert ((bits.to(torch.float32).mean(0) - expected).abs() <= SIGMAS * error).all()


def test_frequencies_are_the_grey_values() -> None:
    bits = bernoulli_bits(torch.arange(256, dtype=torch.uint8).repeat(DRAWS, 1), torch.Generator().manual_seed(1))
    assert set(bits.flatten().tolist()) == {0, 255}
    assert_frequencies(bits // 255)


def test_redrawn_frequencies_are_the_grey_values() -> None:
    data = ImageDataset(torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16), torch.zeros(1), redraw=True, seed=1)
    images, _ = data.__getitems__([0] * DRAWS)
    assert set(images.flatten().tolist()) == {0, 1}
    assert_frequencies(images.flatten(1))


def test_pixels_are_independent() -> None:
    # Correlation of neighbours and of images; its standard error is 1 / sqrt(n)
    bits = bernoulli_bits(torch.full((1_000, 100), 127, dtype=torch.uint8), torch.Generator().manual_seed(2))
    centred = bits / 255 - 127 / 255
    for a, b in ((centred[:, :-1], centred[:, 1:]), (centred[:-1], centred[1:])):
        assert abs(float((a * b).mean() / centred.var())) < SIGMAS / a.numel() ** 0.5


def test_seeded() -> None:
    grey = torch.full((1_000,), 127, dtype=torch.uint8)
    one, same, other = (bernoulli_bits(grey, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_ranks_seeds_and_accesses_draw_differently() -> None:
    def draws(seed: int, rank: int) -> list[Tensor]:
        data = ImageDataset(torch.full((4, 28, 28), 127, dtype=torch.uint8), torch.zeros(4), redraw=True, seed=seed)
        data.rank = rank
        return [data.__getitems__([0, 1, 2, 3])[0] for _ in range(2)]

    seen = [*draws(0, 0), *draws(0, 1), *draws(1, 0)]
    assert all(not torch.equal(seen[i], seen[j]) for i in range(6) for j in range(i))
    assert torch.equal(draws(0, 1)[1], seen[3])


def test_used_dataset_can_be_sent_to_spawned_workers() -> None:
    data = ImageDataset(torch.full((1, 28, 28), 127, dtype=torch.uint8), torch.zeros(1), redraw=True)
    first, second = data.__getitems__([0])[0], data.__getitems__([0])[0]
    assert not any(isinstance(value, torch.Generator) for value in data.__getstate__().values())
    copied = pickle.loads(pickle.dumps(data))
    assert torch.equal(copied.__getitems__([0])[0], first)
    assert not torch.equal(copied.__getitems__([0])[0], first)
    assert not torch.equal(first, second)


def test_redrawing_leaves_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    ImageDataset(torch.zeros(1, 2, 2, dtype=torch.uint8), torch.zeros(1), redraw=True).__getitems__([0])
    assert torch.equal(torch.get_rng_state(), before)
