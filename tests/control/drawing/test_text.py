"""Pictures of text, plain and in colours."""

import gymnasium
import numpy as np
import pytest

from discrete_lightning.control.drawing import text_frame
from discrete_lightning.control.drawing.canvas import BLUE, INK, WHITE, YELLOW

GROUND = "\x1b[43m \x1b[0m"


def test_letters_are_in_cells() -> None:
    plain = np.asarray(text_frame("I I\nI"))
    assert plain.shape == np.asarray(text_frame("abc\n\n  \nde"))[: plain.shape[0]].shape
    dark = np.nonzero((plain == INK).all(2))
    columns, rows = set((dark[1] - 8) // 10), set((dark[0] - 8) // 21)
    assert columns == {0, 2}
    assert rows == {0, 1}


def test_colours_of_letters_and_grounds() -> None:
    image = np.asarray(text_frame(f"a\x1b[34;1mI\x1b[0mI{GROUND}x\x1b[2J"))
    blue = np.nonzero((image == BLUE).all(2))[1]
    yellow = np.nonzero((image == YELLOW).all(2))[1]
    assert set((blue - 8) // 10) == {1}
    assert (yellow.min(), yellow.max()) == (8 + 3 * 10, 8 + 4 * 10 - 1)
    assert image.shape[1] == 5 * 10 + 16  # codes take no room


@pytest.mark.parametrize("name", ["Taxi-v4", "CliffWalking-v1"])
def test_gymnasiums_text(name: str) -> None:
    env = gymnasium.make(name, render_mode="ansi")
    env.reset(seed=0)
    before = np.asarray(text_frame(env.render()))
    assert np.array_equal(before, np.asarray(text_frame(env.render())))
    for action in (0, 1):  # one of both is no wall
        env.step(action)
        moved = np.asarray(text_frame(env.render()))
        if moved.shape != before.shape or (moved != before).any():
            break
    else:
        raise AssertionError("the picture does not change with the agent")


def test_nothing_is_a_white_picture() -> None:
    assert (np.asarray(text_frame("")) == WHITE).all()


def test_refuses_letters_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="at least 4 pixels"):
        text_frame("a", size=3)
