"""The threshold against its definition, and the rates that it and e-values control."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.selection.statistics import e_bh, knockoff_e_values, knockoff_select, knockoff_threshold
from tests.references.inputs import seeded
from tests.selection.tables import false_and_found


def naive_threshold(w: list[float], fdr: float, offset: int) -> float:
    for t in sorted({abs(each) for each in w if each}):
        if offset + sum(each <= -t for each in w) <= fdr * max(1, sum(each >= t for each in w)) + 1e-12:
            return t
    return math.inf


def coins(true: int, columns: int, generator: torch.Generator, strength: float = 2.5) -> tuple[Tensor, Tensor]:
    """Importances with signs that are coins where nothing is true."""
    mask = torch.arange(columns) < true
    return torch.randn(columns, generator=generator, dtype=torch.float64) + strength * mask, mask


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("fdr", [0.05, 0.1, 0.2, 0.5])
def test_threshold_is_its_definition(fdr: float, offset: int) -> None:
    for seed in range(40):
        w = coins(seed, 60, seeded(seed))[0]
        if seed % 2:
            w = w.round()  # ties and zeros
        expected = naive_threshold(w.tolist(), fdr, offset)
        assert knockoff_threshold(w, fdr, offset) == expected
        assert knockoff_select(w, fdr, offset).tolist() == [each >= expected for each in w.tolist()]


def test_at_a_tenth_ten_are_selected_or_none() -> None:
    for count in range(1, 15):
        selected = knockoff_select(torch.ones(count), 0.1)
        assert int(selected.sum()) == (count if count >= 10 else 0)
    assert knockoff_threshold(torch.ones(9), 0.1) == math.inf
    assert knockoff_threshold(torch.zeros(50), 0.5) == math.inf
    assert not knockoff_select(torch.zeros(50), 0.5).any()


@pytest.mark.parametrize("true", [0, 20, 60])
def test_rate_of_false_discoveries(true: int) -> None:
    """500 runs; the bound is missed by chance with p < .03."""
    rates = torch.tensor(
        [
            false_and_found(knockoff_select(w, 0.1), mask)[0]
            for w, mask in (coins(true, 200, seeded(i)) for i in range(500))
        ]
    )
    assert rates.mean() <= 0.1 + 2 * rates.std() / 500**0.5


def naive_e_bh(e: list[float], fdr: float) -> set[int]:
    order = sorted(range(len(e)), key=lambda j: -e[j])
    k = max((i + 1 for i, j in enumerate(order) if e[j] * (i + 1) * fdr >= len(e) - 1e-9), default=0)
    return set(order[:k])


def test_e_bh_is_its_definition() -> None:
    for seed in range(50):
        e = torch.rand(30, generator=seeded(seed), dtype=torch.float64) * 40
        e[e < 20] = 0
        assert set(e_bh(e, 0.2).nonzero().flatten().tolist()) == naive_e_bh(e.tolist(), 0.2)


def test_one_draw_of_e_values_selects_what_the_threshold_does() -> None:
    for seed in range(50):
        w = coins(30, 100, seeded(seed))[0]
        assert torch.equal(e_bh(knockoff_e_values([w], 0.1), 0.1), knockoff_select(w, 0.1))


@pytest.mark.parametrize("inside", [0.05, 0.1])
def test_e_values_of_several_draws_control_the_rate(inside: float) -> None:
    rates, powers = [], []
    for run in range(200):
        generator = seeded(run)
        w, mask = coins(40, 200, generator, strength=4.0)
        # what the draws share: the data. Signs of columns without effect are coins in each draw
        draws = []
        for _ in range(5):
            noisy = w + 0.3 * torch.randn(200, generator=generator, dtype=torch.float64)
            sign = torch.where(mask, 1.0, torch.randint(2, (200,), generator=generator) * 2.0 - 1)
            draws.append(noisy * sign)
        rate, power = false_and_found(e_bh(knockoff_e_values(draws, inside), 0.1), mask)
        rates.append(rate)
        powers.append(power)
    found = torch.tensor(rates)
    assert found.mean() <= 0.1 + 2 * found.std() / 200**0.5
    if inside == 0.05:  # at the rate of e_bh itself, one draw that selects less has a veto
        assert sum(powers) / 200 > 0.5


@pytest.mark.parametrize("fdr", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_rates_outside_their_range_are_refused(fdr: float) -> None:
    w = torch.ones(20)
    for call in (knockoff_threshold, knockoff_select, lambda w, fdr: knockoff_e_values([w], fdr), e_bh):
        with pytest.raises(ValueError, match="0 < fdr < 1"):
            call(w, fdr)


def test_bad_importances_are_refused() -> None:
    with pytest.raises(ValueError, match="offset is 0 or 1, got 2"):
        knockoff_threshold(torch.ones(3), 0.1, 2)
    with pytest.raises(ValueError, match="finite"):
        knockoff_threshold(torch.tensor([1.0, float("nan")]), 0.1)
    with pytest.raises(ValueError, match=">= 0"):
        e_bh(torch.tensor([1.0, -1.0]), 0.1)
    with pytest.raises(ValueError, match="one length"):
        knockoff_e_values([torch.ones(3), torch.ones(4)], 0.1)
    with pytest.raises(ValueError, match="one importance or more"):
        knockoff_e_values([], 0.1)
