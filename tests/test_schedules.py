import dataclasses
import math
import pickle
from itertools import pairwise

import pytest

from discrete_lightning.schedules import Constant, Cosine, Delayed, Exponential, Linear, Schedule, Staircase

JANG = Exponential(start=1.0, rate=1e-4, minimum=0.5)
FALLING = [
    Linear(1.0, 0.1, steps=7),
    Cosine(1.0, 0.1, steps=7),
    Exponential(1.0, 0.3, 0.2),
    Staircase(Exponential(1.0, 0.3, 0.2), every=3),
    Delayed(Linear(1.0, 0.1, steps=7), steps=4),
    Staircase(Delayed(Cosine(1.0, 0.1, steps=7), steps=4), every=2),
]
ALL = [Constant(0.5), Linear(0.0, 1.0, steps=3), *FALLING]


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.5), {0: 0.5, 1: 0.5, 10**9: 0.5}),
        (Linear(1.0, 0.5, steps=10), {0: 1.0, 1: 0.95, 5: 0.75, 10: 0.5, 11: 0.5, 10**9: 0.5}),
        (Linear(0.0, 2.0, steps=1), {0: 0.0, 1: 2.0, 2: 2.0}),
        (Linear(-1.0, -3.0, steps=4), {0: -1.0, 2: -2.0, 4: -3.0}),
        (Cosine(1.0, 0.0, steps=4), {0: 1.0, 1: 0.5 + math.sqrt(0.125), 2: 0.5, 3: 0.5 - math.sqrt(0.125), 4: 0, 9: 0}),
        (Cosine(2.0, 4.0, steps=2), {0: 2.0, 1: 3.0, 2: 4.0}),
        (JANG, {0: 1.0, 1000: math.exp(-0.1), 6931: math.exp(-0.6931), 6932: 0.5, 10**12: 0.5}),
        (Exponential(), {0: 1.0, 10_000: math.exp(-1), 10**12: 0.0}),
        (Exponential(3.0, 0.0), {0: 3.0, 10**6: 3.0}),
        (Exponential(0.5, 1.0, minimum=0.5), {0: 0.5, 5: 0.5}),
        (Staircase(JANG, every=500), {0: 1.0, 499: 1.0, 500: math.exp(-0.05), 999: math.exp(-0.05), 10**6: 0.5}),
        (Staircase(Linear(1.0, 0.0, steps=10), every=1), {0: 1.0, 3: 0.7, 10: 0.0}),
        (Delayed(Linear(1.0, 0.0, steps=10), steps=5), {0: 1.0, 5: 1.0, 6: 0.9, 15: 0.0, 99: 0.0}),
        (Delayed(Constant(2.0), steps=0), {0: 2.0, 1: 2.0}),
        (Staircase(Delayed(Linear(1.0, 0.0, steps=10), steps=5), every=4), {7: 1.0, 8: 0.7, 11: 0.7, 12: 0.3}),
        (Delayed(Staircase(Linear(1.0, 0.0, steps=10), every=4), steps=5), {8: 1.0, 9: 0.6, 12: 0.6, 13: 0.2}),
    ],
)
def test_values(schedule: Schedule, values: dict[int, float]) -> None:
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "values", "length"),
    [
        (Constant(2.0), {0.0: 2.0, 0.3: 2.0, 1.0: 2.0}, 0.0),
        (Linear(10.0, 0.0, steps=1), {0.0: 10.0, 0.25: 7.5, 0.99: 0.1, 1.0: 0.0}, 1.0),
        (Linear(1.0, 0.0, steps=0.5), {0.25: 0.5, 0.5: 0.0, 1.0: 0.0}, 0.5),
        (Cosine(1.0, 0.0, steps=1), {1 / 3: 0.75, 0.5: 0.5, 2 / 3: 0.25, 1.0: 0.0}, 1.0),
        (Exponential(1.0, rate=2.0), {0.5: math.exp(-1), 1.0: math.exp(-2)}, 0.0),
        (Staircase(Linear(1.0, 0.0, steps=1), every=0.25), {0.24: 1.0, 0.25: 0.75, 0.74: 0.5, 1.0: 0.0}, 1.0),
        (Staircase(Linear(1.0, 0.0, steps=0.6), every=0.25), {0.74: 1 - 0.5 / 0.6, 0.75: 0.0}, 0.75),
        (Staircase(Linear(1.0, 0.0, steps=1), every=0.1), {0.3: 0.7, 0.39: 0.7, 0.6: 0.4, 0.7: 0.3, 1.0: 0.0}, 1.0),
        (Delayed(Linear(1.0, 0.0, steps=0.5), steps=0.5), {0.4: 1.0, 0.75: 0.5, 1.0: 0.0}, 1.0),
    ],
)
def test_over_the_share_of_a_run(schedule: Schedule, values: dict[float, float], length: float) -> None:
    for share, value in values.items():
        assert schedule(share) == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert schedule.length == length


@pytest.mark.parametrize("kind", [Linear, Cosine])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.1), (0.1, 0.7), (0.3, 1.1), (1e8, 0.1), (5.0, 1e-3), (0.9, 0.9)])
def test_both_ends_are_reached_to_the_bit(kind: type[Linear | Cosine], start: float, end: float) -> None:
    """A temperature just below the end could be one below its minimum."""
    schedule = kind(start, end, steps=7)
    assert schedule(0) == start
    assert schedule(7) == schedule(8) == schedule(10**6) == end


@pytest.mark.parametrize("schedule", FALLING, ids=repr)
def test_a_falling_schedule_never_rises(schedule: Schedule) -> None:
    values = [schedule(step) for step in range(40)]
    assert all(later <= earlier for earlier, later in pairwise(values))
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_schedule_is_a_pure_function_of_the_step(schedule: Schedule) -> None:
    """So a resumed run, or one that looks ahead, sees the same values."""
    forwards = [schedule(step) for step in range(20)]
    assert [schedule(step) for step in reversed(range(20))] == forwards[::-1]
    assert [pickle.loads(pickle.dumps(schedule))(step) for step in range(20)] == forwards
    assert all(isinstance(value, float) for value in forwards)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_schedule_is_a_value(schedule: Schedule) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule
    assert hash(copy) == hash(schedule)
    assert eval(repr(schedule)) == schedule
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, dataclasses.fields(schedule)[0].name, 0.0)


def test_schedules_of_different_kinds_or_values_differ() -> None:
    assert len({*ALL, Linear(1.0, 0.1, steps=8), Constant(0.6)}) == len(ALL) + 2


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Constant, (math.nan,), "finite"),
        (Constant, (math.inf,), "finite"),
        (Linear, (1.0, 0.0, 0), "steps must be positive"),
        (Linear, (1.0, 0.0, -5), "steps must be positive"),
        (Linear, (math.inf, 0.0, 5), "finite"),
        (Linear, (1.0, math.nan, 5), "finite"),
        (Cosine, (1.0, 0.0, 0), "steps must be positive"),
        (Cosine, (1.0, -math.inf, 5), "finite"),
        (Exponential, (1.0, -1e-4), "rate must not be negative"),
        (Exponential, (1.0, math.nan), "finite"),
        (Exponential, (1.0, 1e-4, math.inf), "finite"),
        (Exponential, (0.1, 1.0, 0.5), "start must not be below minimum"),
        (Staircase, (Constant(1.0), 0), "every must be positive"),
        (Staircase, (Constant(1.0), math.inf), "every must be positive and finite"),
        (Linear, (1.0, 0.5, math.inf), "steps must be positive and finite"),
        (Delayed, (Constant(1.0), -1), "steps must not be negative"),
    ],
)
def test_errors_show_the_schedule(kind: type[Schedule], arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        kind(*arguments)
    assert str(error.value).startswith(f"{kind.__name__}(")


def test_a_schedule_must_say_its_value() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Schedule()  # type: ignore[abstract]
