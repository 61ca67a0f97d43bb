"""Text files of one's own: what is in them, in whatever encoding, split by file."""

from pathlib import Path

import pytest
import torch

from discrete_lightning.data import DataError, TextFiles

TEXT = "Café — “naïve”.\nthe end\n"


def write(folder: Path, **contents: str | bytes) -> str:
    """Files of these names; returns the pattern of all."""
    for name, content in contents.items():
        data = content.encode("utf-8") if isinstance(content, str) else content
        (folder / f"{name}.txt").write_bytes(data)
    return str(folder / "*.txt")


def whole(data: TextFiles) -> str:
    return "|".join(data.text(split) for split in ("train", "validation", "test"))


@pytest.mark.parametrize(
    ("encoding", "note"),
    [("utf-8", ""), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("cp1252", "cp1252")],
)
def test_encodings_are_found(encoding: str, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = TextFiles(write(tmp_path, a=TEXT.encode(encoding)), validation=0, test=0)
    assert data.text("train") == TEXT
    out = capsys.readouterr().out
    assert (f"a.txt was read as {note}" in out) if note else (out == "")


def test_utf_16_of_the_other_order(tmp_path: Path) -> None:
    big = b"\xfe\xff" + TEXT.encode("utf-16-be")
    assert TextFiles(write(tmp_path, a=big), validation=0, test=0).text("train") == TEXT


def test_bytes_that_cp1252_lacks_are_latin_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = TextFiles(write(tmp_path, a=b"caf\xe9 \x81"), validation=0, test=0)
    assert data.text("train") == "café \x81"
    assert "latin-1" in capsys.readouterr().out


def test_a_given_encoding_is_used(tmp_path: Path) -> None:
    pattern = write(tmp_path, a="Привет".encode("cp1251"))
    assert TextFiles(pattern, "cp1251", validation=0, test=0).text("train") == "Привет"
    with pytest.raises(DataError, match=r"a\.txt cannot be read as utf-8.*encoding"):
        TextFiles(pattern, "utf-8", validation=0, test=0).text("train")
    with pytest.raises(DataError, match="cannot be read as klingon"):
        TextFiles(pattern, "klingon", validation=0, test=0).text("train")


def test_line_ends_of_windows(tmp_path: Path) -> None:
    pattern = write(tmp_path, a=b"one\r\ntwo\r\n\r\nthree\n")
    assert TextFiles(pattern, validation=0, test=0).text("train") == "one\ntwo\n\nthree\n"


def test_each_file_is_in_one_split(tmp_path: Path) -> None:
    contents = {f"f{i:02}": f"text {i:02} of many. " * 10 for i in range(20)}
    pattern = write(tmp_path, **contents)
    data = TextFiles(pattern, validation=0.1, test=0.2, seed=3)
    found = {split: data.text(split).split("\n\n") for split in ("train", "validation", "test")}
    assert {split: len(each) for split, each in found.items()} == {"train": 14, "validation": 2, "test": 4}
    assert sorted(text for texts in found.values() for text in texts) == sorted(contents.values())
    assert all(each == sorted(each) for each in found.values())  # in the order of the files
    assert whole(TextFiles(pattern, validation=0.1, test=0.2, seed=3)) == whole(data)
    assert whole(TextFiles(pattern, validation=0.1, test=0.2, seed=4)) != whole(data)


def test_the_tokenizer_learns_from_training_files_alone(tmp_path: Path) -> None:
    data = TextFiles(write(tmp_path, a="alpha " * 9, b="beta " * 9, c="gamma " * 9))
    (word,) = set(data.text("train").split())
    assert {piece.strip() for piece in data.tokenizer.pieces} == {word}  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [1, 2])
def test_few_files_are_split_by_place(count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {name: "".join(f"{name}{i:03} " for i in range(200)) for name in "ab"[:count]}
    data = TextFiles(write(tmp_path, **texts), validation=0.1, test=0.2)
    parts = {split: data.text(split).split("\n\n") for split in ("train", "validation", "test")}
    for i, text in enumerate(texts.values()):
        assert [len(parts[split][i]) for split in parts] == [700, 100, 200]
        assert "".join(parts[split][i] for split in parts) == text
    assert "too few to hold some out" in capsys.readouterr().out


def test_without_held_out_shares_all_is_trained_on(tmp_path: Path) -> None:
    data = TextFiles(write(tmp_path, a="one two " * 20), validation=0, test=0, batch_size=2, context=4)
    data.setup()
    assert data.val_dataloader() == []
    assert data.test_dataloader() == []
    assert len(list(data.train_dataloader())) > 1


def test_several_patterns_keep_their_order_and_no_file_counts_twice(tmp_path: Path) -> None:
    write(tmp_path, a="AAA", b="BBB", c="CCC")
    patterns = [str(tmp_path / "c.txt"), str(tmp_path / "*.txt")]
    assert TextFiles(patterns, validation=0, test=0).text("train") == "CCC\n\nAAA\n\nBBB"


def test_folders_below(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "deep" / "er", x="XXX")
    write(tmp_path, y="YYY")
    assert TextFiles(str(tmp_path / "**" / "*.txt"), validation=0, test=0).text("train") == "XXX\n\nYYY"


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b" \n\n "])
def test_an_empty_file_is_named(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.txt is empty"):
        TextFiles(write(tmp_path, a="text", b=content)).text("train")


def test_no_file(tmp_path: Path) -> None:
    write(tmp_path, a="text")
    with pytest.raises(DataError, match=r"none\.txt.*no such file.*pattern"):
        TextFiles([str(tmp_path / "a.txt"), str(tmp_path / "none.txt")]).text("train")
    with pytest.raises(DataError, match="no such file"):
        TextFiles(str(tmp_path)).text("train")  # a folder


def test_too_little_text(tmp_path: Path) -> None:
    pattern = write(tmp_path, a="x")
    with pytest.raises(DataError, match="1 tokens, too few"):
        TextFiles(pattern, validation=0, test=0).setup()
    pattern = write(tmp_path, a="x\ny")
    with pytest.raises(DataError, match="3 tokens cannot be read as 32 rows"):
        TextFiles(pattern, validation=0, test=0).setup()


@pytest.mark.parametrize("streams", [True, False])
def test_batches_hold_the_text(streams: bool, tmp_path: Path) -> None:
    text = "".join(f"{i} " for i in range(300))
    pattern = write(tmp_path, a=text)
    data = TextFiles(pattern, validation=0, test=0.3, context=8, batch_size=1, tokenizer="bytes", streams=streams)
    loader = data.test_dataloader()
    targets = torch.cat([targets.flatten() for _, targets in loader])  # type: ignore[union-attr]
    assert data.decode_tokens(targets[targets >= 0]) == data.text("test")[1:][: int((targets >= 0).sum())]
    assert int((targets >= 0).sum()) >= len(data.text("test")) - (1 if streams else 8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"context": 0}, "context=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"vocabulary": 100}, "vocabulary=100"),
        ({"validation": 0.6, "test": 0.5}, "leave something to train on"),
        ({"test": -0.1}, "test=-0.1"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TextFiles("a.txt", **arguments)  # type: ignore[arg-type]
