"""Tables of numbers."""

import gzip
from pathlib import Path
from typing import Any

import pytest
import torch

from discrete_lightning.data import CSVTable, DataError

NUMBERS = [f"0.{i},0.{9 - i}" for i in range(8)]
FLOWERS = ["a;b;class", *(f"0.{i};0.5;{['rose', 'tulip'][i % 2]}" for i in range(8))]


def table(folder: Path, lines: list[str], zipped: bool = False, **arguments: Any) -> CSVTable:
    path = folder / ("a.csv.gz" if zipped else "a.csv")
    content = "\n".join(lines).encode("utf-8-sig")
    path.write_bytes(gzip.compress(content) if zipped else content)
    return CSVTable(str(path), **{"validation": 0, "test": 0, "batch_size": 2} | arguments)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("head", [[], ["first,second"]])
def test_numbers_with_and_without_names(tmp_path: Path, head: list[str], zipped: bool) -> None:
    data = table(tmp_path, head + NUMBERS, zipped)
    rows = data.dataset("train")
    assert len(rows) == 8
    assert torch.allclose(rows[3], torch.tensor([0.3, 0.6]))
    assert (data.image_shape, data.class_names) == ((2,), ())


@pytest.mark.parametrize(
    ("lines", "label"),
    [
        (FLOWERS, None),
        (FLOWERS, "class"),
        (FLOWERS, 2),
        (FLOWERS[1:], -1),
        (FLOWERS[1:], "2"),
        (["0;1;class", *FLOWERS[1:]], -1),
    ],
)
def test_labels_are_words(tmp_path: Path, lines: list[str], label: Any) -> None:
    data = table(tmp_path, lines, label=label)
    values, number = data.dataset("train")[3]
    assert torch.allclose(values, torch.tensor([0.3, 0.5]))
    assert (number, data.class_names) == (1, ("rose", "tulip"))


def test_pixels_become_images(tmp_path: Path) -> None:
    data = table(
        tmp_path, ["label,p0,p1,p2,p3", *(f"{i},0,51,255,{i}" for i in range(4))], shape=(1, 2, 2), max_value=255
    )
    images, labels = next(iter(data.train_dataloader()))
    assert (images.shape, labels.dtype) == ((2, 1, 2, 2), torch.int64)
    assert torch.allclose(images[:, 0, 0], torch.tensor([0.0, 0.2]))
    assert data.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        (["a,b", *NUMBERS, "0.5,abc"], {}, "line 10, column b: expected a number, found 'abc'"),
        (["label,b", "1,0.5", "2,"], {}, "line 3, column b: expected a number, found ''"),
        (["a,label", "0.5,1", "0.5,"], {}, "line 3: has no label in column label"),
        ([*NUMBERS, "0.5"], {}, "line 9: expected 2 columns, found 1"),
        ([*NUMBERS, "0.5,nan"], {}, "line 9, column 1: expected a number, found 'nan'"),
        (["0,255", "3,4"], {}, r"expected values in \[0, 1\], found 0 to 255: set max_value"),
        ([], {}, "expected rows of numbers, found no rows"),
        (["a,b"], {}, "expected rows of numbers, found no rows"),
        (NUMBERS, {"shape": (1, 2, 2)}, "shape 1 x 2 x 2 has 4 values, found 2 columns"),
        (FLOWERS, {"label": "colour"}, "label='colour': there is no such column; found a, b, class"),
        (NUMBERS, {"label": 7}, "label=7: there are 2 columns"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, lines: list[str], arguments: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.csv.*{message}"):
        table(tmp_path, lines, **arguments).setup()
