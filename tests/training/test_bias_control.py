"""The rule by which AdaptiveTemperature moves tau, against its formula computed step by step."""

import math
import random

import pytest

from discrete_lightning.training.bias_control import BiasControl


def reference(minimum: float, maximum: float, measured: list[tuple[float, float, float]]) -> list[float]:
    """The formula of the docstring, in logarithms."""
    log_tau, average, weight, largest, before, found = math.log(maximum), 0.0, 0.0, 0.0, 0.0, []
    for share, bias, noise in measured:
        average, weight = average / 2 + bias / 2, weight / 2 + 1 / 2
        size = abs(average / weight)
        largest = max(largest, size)
        wanted = log_tau + math.log(((1 - share) ** 3 * largest + noise) / size)
        bound = 2 * (share - before) * math.log(maximum / minimum)
        log_tau = min(max(wanted, log_tau - bound), log_tau + bound)
        log_tau = min(max(log_tau, math.log(minimum)), math.log(maximum))
        before = share
        average *= math.exp(log_tau) / (found[-1] if found else maximum)
        found.append(math.exp(log_tau))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_formula(seed: int) -> None:
    draw = random.Random(seed)
    shares = sorted(draw.random() for _ in range(30))
    measured = [(share, draw.gauss(0.3, 1.0), 0.2 * draw.random()) for share in shares]
    control = BiasControl(0.1, 2.0)
    found = [control.update(*each) for each in measured]
    assert found == pytest.approx(reference(0.1, 2.0, measured), rel=1e-6)
    assert len(set(found)) > 5


def test_tau_stays_in_its_range_and_moves_by_a_bounded_factor() -> None:
    control, before = BiasControl(0.2, 3.0), 3.0
    for step in range(1, 21):
        tau = control.update(step / 20, 1e6 * (-1) ** step if step < 15 else 1e-9, 1e-3)
        assert 0.2 <= tau <= 3.0
        assert abs(math.log(tau / before)) <= 2 / 20 * math.log(15) + 1e-9
        before = tau


def test_a_bias_below_the_noise_raises_tau_again() -> None:
    control = BiasControl(0.1, 2.0)
    low = [control.update(share, 1.0, 0.0) for share in (0.3, 0.6)][-1]
    assert low < 0.5
    assert control.update(0.8, 0.0, 10.0) > low


def test_no_bias_at_all_leaves_tau_high() -> None:
    control = BiasControl(0.1, 2.0)
    assert [control.update(share, 0.0, 0.0) for share in (0.2, 0.9)] == [2.0, 2.0]


@pytest.mark.parametrize("bias", [math.nan, math.inf])
def test_what_is_not_finite_changes_nothing(bias: float) -> None:
    control = BiasControl(0.1, 2.0)
    control.update(0.4, 1.0, 0.1)
    before = control.state_dict()
    control.update(0.6, bias, 0.1)
    assert control.state_dict() == before


def test_a_state_goes_on_to_the_bit() -> None:
    whole, cut = BiasControl(0.1, 2.0), BiasControl(0.1, 2.0)
    for control in (whole, cut):
        control.update(0.2, 1.3, 0.1)
    resumed = BiasControl(0.1, 2.0)
    resumed.load_state_dict(cut.state_dict())
    assert resumed.update(0.5, 0.7, 0.05) == whole.update(0.5, 0.7, 0.05)
    assert resumed.state_dict() == whole.state_dict()


@pytest.mark.parametrize(("minimum", "maximum"), [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (0.1, math.inf), (math.nan, 1.0)])
def test_a_range_that_is_none(minimum: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="0 < minimum < maximum"):
        BiasControl(minimum, maximum)
