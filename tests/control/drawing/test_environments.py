"""Pictures of environments: what is where, in pixels."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from discrete_lightning.control.drawing import draw_acrobot, draw_cart_pole, draw_grid, draw_mountain_car
from discrete_lightning.control.drawing.canvas import BLUE, GREEN, INK, RED
from discrete_lightning.control.environments import (
    Acrobot,
    CartPole,
    DeepSea,
    DifferentiableEnv,
    GridWorld,
    MountainCar,
)
from discrete_lightning.control.vector.torch_environments import TorchEnvironments


def places(image: Any, colour: tuple[int, int, int]) -> np.ndarray:
    """(x, y) of the pixels of a colour, y downwards."""
    rows, columns = np.nonzero((np.asarray(image) == colour).all(2))
    assert rows.size, f"no pixel has the colour {colour}"
    return np.stack((columns, rows), 1)


@pytest.mark.parametrize("angle", [0.2, -0.2])
def test_the_pole_leans_as_it_should(angle: float) -> None:
    image = draw_cart_pole([0.0, 0.0, angle, 0.0])
    x, y = places(image, RED).mean(0)
    assert math.copysign(1, x - 150) == math.copysign(1, angle)
    assert abs(x - 150) > 4
    assert y < places(image, INK)[:, 1].min()  # above the cart


def test_the_cart_is_where_it_is() -> None:
    left, right = (places(draw_cart_pole([x, 0.0, 0.0, 0.0]), INK)[:, 0].mean() for x in (-2.0, 2.0))
    assert right - left == pytest.approx(4 * 300 / 5.2, abs=1)
    assert left + right == pytest.approx(300, abs=2)


def test_the_links_hang_and_stand() -> None:
    hanging = draw_acrobot([1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    standing = draw_acrobot([-1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    right = draw_acrobot([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    line = 100 - 200 / 4.5
    assert places(hanging, RED)[:, 1].min() > places(hanging, INK)[:, 1].mean()
    assert places(standing, RED)[:, 1].min() < line < places(hanging, RED)[:, 1].min()
    assert places(right, RED)[:, 0].min() > 150
    folded = draw_acrobot([1.0, 0.0, -1.0, 0.0, 0.0, 0.0])  # the second link covers the first
    assert places(folded, RED)[:, 1].max() < 150


def test_the_car_is_on_the_hill_below_the_flag() -> None:
    pictures = [draw_mountain_car([x, 0.0]) for x in (-1.0, -0.5, 0.4)]
    x, y = zip(*(places(each, BLUE).mean(0) for each in pictures), strict=True)
    assert x[0] < x[1] < x[2]
    assert y[1] > y[0]
    assert y[1] > y[2]
    flag = places(pictures[0], GREEN).mean(0)
    assert flag[0] > x[2]
    assert flag[1] < y[2]


def test_the_agent_is_in_its_cell() -> None:
    rows = ["SFFF", "FHFH", "FFFH", "HF#G"]
    for position in range(16):
        x, y = places(draw_grid(rows, position), RED).mean(0)
        assert (y // 50) * 4 + x // 50 == position
    image = draw_grid(rows, None)
    assert {tuple(each // 50) for each in places(image, BLUE)} == {(1, 1), (3, 1), (3, 2), (0, 3)}
    assert {tuple(each // 50) for each in places(image, GREEN)} == {(3, 3)}
    assert {tuple(each // 50) for each in places(image, INK)} == {(2, 3)}
    assert image.size == draw_grid(["SF", "FG"], 0).size == (200, 200)
    assert draw_grid(["SFFG"], 0).size == (800, 200)
    marked = np.asarray(draw_grid(rows, None, trodden=[1]))
    changed = np.nonzero((marked != np.asarray(image)).any(2))
    assert set(changed[1] // 50 + 4 * (changed[0] // 50)) == {1}


@pytest.mark.parametrize(
    ("rows", "position", "message"),
    [(["SG", "F"], 0, "of one length"), ([], None, "of one length"), (["SG"], 2, r"cell 2 is not on a grid of 1 x 2")],
)
def test_refuses(rows: list[str], position: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_grid(rows, position)


@pytest.mark.parametrize("make", [CartPole, Acrobot, MountainCar, GridWorld, DeepSea])
def test_environments_draw_themselves_alike_each_time(make: Callable[[], DifferentiableEnv]) -> None:
    environments = TorchEnvironments(make(), 2)
    environments.reset(seed=0)
    image = environments.frame(1)
    assert image.mode == "RGB"
    assert image.size[1] == 200
    assert np.array_equal(np.asarray(image), np.asarray(environments.frame(1)))


def test_the_end_of_the_sea_has_no_agent() -> None:
    env = DeepSea(3)
    assert places(env.draw(torch.eye(10)[4]), RED).size
    with pytest.raises(AssertionError, match="no pixel"):
        places(env.draw(torch.eye(10)[9]), RED)
