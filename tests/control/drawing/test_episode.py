"""Strips and GIFs of an episode."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from discrete_lightning.control.drawing import draw_cart_pole, of_one_size, strip, text_frame, write_gif


def episode(length: int) -> list[Any]:
    return [draw_cart_pole([0.05 * i, 0.0, 0.02 * i, 0.0]) for i in range(length)]


def test_a_strip_shows_frames_evenly_spaced() -> None:
    frames = episode(15)
    image = strip(frames, count=3)
    assert image.size == (3 * 300 + 2 * 4, 218)
    for place, i in enumerate((0, 7, 14)):
        part = image.crop((place * 304, 0, place * 304 + 300, 200))
        assert np.array_equal(np.asarray(part), np.asarray(frames[i]))
    assert strip(frames[:2], count=8).size[0] == 604
    assert np.array_equal(np.asarray(strip(frames, count=1))[:200], np.asarray(frames[14]))


def test_captions_are_below_their_frames() -> None:
    frames = episode(3)
    blank = strip(frames, captions=["", "", ""])
    written = strip(frames, captions=["", "fallen", ""])
    changed = np.nonzero((np.asarray(blank) != np.asarray(written)).any(2))
    assert changed[0].min() >= 200
    assert 304 < changed[1].min() < 454 < changed[1].max() < 604


def test_frames_of_a_strip_may_differ_in_size() -> None:
    small, large = text_frame("a"), text_frame("a\nb\nccc")
    assert strip([small, large]).size == (small.size[0] + large.size[0] + 4, large.size[1] + 18)


def test_a_gif_has_every_frame(tmp_path: Path) -> None:
    frames = episode(12)
    write_gif(tmp_path / "episode.gif", frames, fps=20)
    file = io.BytesIO()
    write_gif(file, frames, fps=20)
    assert file.getvalue() == (tmp_path / "episode.gif").read_bytes()
    with Image.open(file) as read:
        assert (read.n_frames, read.info["duration"], read.info["loop"]) == (12, 50, 0)
        for i, frame in enumerate(frames):
            read.seek(i)
            difference = np.abs(np.asarray(read.convert("RGB")).astype(int) - np.asarray(frame))
            assert difference.max() < 40  # 63 colours


def test_a_gif_keeps_the_time_of_frames_that_do_not_change() -> None:
    file = io.BytesIO()
    first, last = episode(2)
    write_gif(file, [first] * 5 + [last], fps=10)
    with Image.open(file) as read:
        durations = []
        for i in range(read.n_frames):
            read.seek(i)
            durations.append(read.info["duration"])
    assert durations == [500, 100]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: strip([]), "at least 1 frame, got count 8 and 0 frames"),
        (lambda: strip(episode(1), count=0), "at least 1 frame, got count 0"),
        (lambda: strip(episode(2), captions=["a"]), "one caption for each of 2 frames, got 1"),
        (lambda: write_gif(io.BytesIO(), []), "at least 1 frame"),
        (lambda: write_gif(io.BytesIO(), [text_frame("a"), text_frame("ab")]), "of one size"),
        (lambda: write_gif(io.BytesIO(), episode(1), fps=0), "fps must be above 0"),
        (lambda: write_gif(io.BytesIO(), episode(1), fps=51), "at most 50"),
    ],
)
def test_refuses(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"discrete_lightning\[control\]"):
        draw_cart_pole([0.0, 0.0, 0.0, 0.0])


def test_frames_of_several_sizes_get_that_of_the_largest() -> None:
    small, large = Image.new("RGB", (4, 9), "black"), Image.new("RGB", (7, 5), "black")
    found = of_one_size([small, large])
    assert [each.size for each in found] == [(7, 9), (7, 9)]
    assert [each.getpixel((6, 8)) for each in found] == [(255, 255, 255)] * 2
    assert found[0].getpixel((3, 8)) == (0, 0, 0)
