"""Every prediction is written, in the order of the data, whatever the loader and the number of ranks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from discrete_lightning.callbacks import CodeWriter
from discrete_lightning.training.prediction_file import PredictionFile
from discrete_lightning.training.prediction_writer import _Part, in_order
from tests.ranks import run_on_ranks
from tests.training.user_codebook import trainer

ROWS = torch.arange(11.0)[:, None]


class Repeats(LightningModule):
    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        return {"codes": batch[0] if isinstance(batch, list) else batch}


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        yield from ROWS


class Blocks(Dataset[Tensor]):
    """Serves whole batches."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return ROWS[3 * index : 3 * index + 3]


def loaders(kind: str) -> Any:
    rows = TensorDataset(ROWS)
    made: dict[str, Any] = {
        "map": DataLoader(rows, batch_size=4),
        "stream": DataLoader(Stream(), batch_size=4),
        "stream of rows": DataLoader(Stream(), batch_size=None),
        "blocks": DataLoader(Blocks(), batch_size=None),
        "several": [DataLoader(rows, batch_size=4), DataLoader(Stream(), batch_size=3)],
    }
    return made[kind]


@pytest.mark.parametrize("kind", ["map", "stream", "stream of rows", "blocks", "several"])
def test_every_prediction_is_written_in_order(tmp_path: Path, kind: str) -> None:
    trainer(tmp_path, CodeWriter(), PredictionFile()).predict(Repeats(), loaders(kind), return_predictions=False)
    for suffix in ["-loader0", "-loader1"] if kind == "several" else [""]:
        codes = np.load(tmp_path / f"codes{suffix}.npz")["codes"]
        assert codes.reshape(-1).tolist() == list(range(11)), suffix
        batches = torch.load(tmp_path / f"predictions{suffix}.pt", weights_only=True)
        assert torch.cat([batch["codes"].reshape(-1) for batch in batches]).tolist() == list(range(11))


class Uneven(Repeats):
    """Rows (T, 2) in the first key, T = 3, 1, 5 of the three batches; `widths` of the last dimension."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.widths = widths

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        rows = batch[0].view(-1, 1, 1).expand(-1, (3, 1, 5)[batch_idx], self.widths[batch_idx])
        return {"codes": rows, "numbers": batch[0]}


def test_rows_of_different_lengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, CodeWriter()).predict(Uneven(2, 2, 2), loaders("map"), return_predictions=False)
    held = np.load(tmp_path / "codes.npz")
    assert sorted(held) == ["codes", "codes_lengths", "numbers"]
    assert held["codes_lengths"].tolist() == [3] * 4 + [1] * 4 + [5] * 3
    for number, row in enumerate(np.split(held["codes"], held["codes_lengths"].cumsum()[:-1])):
        assert row.shape == ((3, 1, 5)[number // 4], 2)
        assert (row == number).all()
    assert "codes of 11 examples: " in capsys.readouterr().out


def test_rows_that_one_array_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"codes has rows of different shapes, \(1, 2\) and \(3, 1\)"):
        trainer(tmp_path, CodeWriter()).predict(Uneven(1, 2, 2), loaders("map"), return_predictions=False)
    assert not list(tmp_path.rglob("*.npz"))


def _predicted() -> list[int]:
    """On each of two ranks, as Lightning splits 11 examples: 6 and 5, in batches of 2."""
    from torch.distributed import get_rank

    from discrete_lightning.training.prediction_writer import _of_all_ranks

    mine = list(range(get_rank(), 11, 2))
    batches = [mine[start : start + 2] for start in range(0, len(mine), 2)]
    parts = [_Part(0, number, get_rank(), rows, {"codes": ROWS[rows]}) for number, rows in enumerate(batches)]
    return [int(code) for batch in in_order(_of_all_ranks(parts)) for code in batch["codes"]]


def test_two_ranks_with_batches_of_different_sizes() -> None:
    assert run_on_ranks(_predicted) == [list(range(11)), []]


def test_rows_of_different_lengths_on_two_ranks() -> None:
    """In the order of the data, too, though no tensor can hold them."""
    rows = [[0, 2], [4], [1, 3]]
    outputs = [{"codes": torch.tensor(each)[:, None].expand(-1, 2 + len(each) + each[0])} for each in rows]
    parts = [_Part(0, i % 2, i // 2, each, output) for i, (each, output) in enumerate(zip(rows, outputs, strict=True))]
    found = in_order(parts)
    assert [int(output["codes"][0, 0]) for output in found] == [0, 1, 2, 3, 4]
    assert [tuple(output["codes"].shape) for output in found] == [(1, 4), (1, 5), (1, 4), (1, 5), (1, 7)]


def test_predictions_that_have_no_row_for_each_example() -> None:
    parts = [_Part(0, 0, 0, [2, 3], "second"), _Part(0, 1, 0, [0, 1], "first")]
    assert in_order(parts) == ["first", "second"]
