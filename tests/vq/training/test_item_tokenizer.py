"""Semantic IDs: what is measured, and the file of IDs."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from discrete_lightning.callbacks import SemanticIDWriter
from discrete_lightning.data import ItemVectors
from discrete_lightning.models import ItemTokenizer
from discrete_lightning.nn import ResidualQuantizer, VectorQuantizer
from discrete_lightning.vq.functional.semantic_ids import colliding
from tests.tiny_images import quiet_trainer
from tests.tiny_items import TinyItems


def tokenizer() -> ItemTokenizer:
    torch.manual_seed(0)
    return ItemTokenizer(4, ResidualQuantizer(VectorQuantizer(4, 3), 2), hidden=[8])


def test_what_is_measured() -> None:
    model, data = tokenizer(), TinyItems()
    trainer = quiet_trainer()
    trainer.validate(model, data, verbose=False)
    vectors, _ = data.dataset("validation")[:]
    with torch.no_grad():
        output, quantized = model.eval()(vectors)
    found = trainer.callback_metrics
    torch.testing.assert_close(found["val/collision_rate"], colliding(quantized.indices).float().mean())
    torch.testing.assert_close(found["val/error"], (output - vectors).square().mean())
    assert found["val/live_codes_2"] == len(quantized.indices[:, 1].unique())
    torch.testing.assert_close(model.decode(quantized.indices), output)


def test_ids_are_written(tmp_path: Path) -> None:
    values = np.random.RandomState(0).standard_normal((30, 4))
    names = [f"item, {i}" for i in range(30)]
    np.savez(tmp_path / "items.npz", vectors=values, items=np.array(names))
    model, data = tokenizer(), ItemVectors(str(tmp_path / "items.npz"), batch_size=8)
    for _ in range(2):  # nothing is overwritten
        trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[SemanticIDWriter()])
        trainer.predict(model, data)
    with (tmp_path / "semantic_ids.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert (tmp_path / "semantic_ids-2.csv").exists()
    assert header == ["item", "code_1", "code_2", "token"]
    assert [row[0] for row in rows] == names
    assert len({tuple(row[1:]) for row in rows}) == 30
    codes = model.eval().encode(data.dataset("test")[:][0]).indices
    assert [[int(each) for each in row[1:3]] for row in rows] == codes.tolist()


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"VectorQuantizer gives indices of shape \(\) a vector"):
        ItemTokenizer(4, VectorQuantizer(4, 3))
    for batch, words in (
        ((torch.zeros(2, 5), torch.arange(2)), "set dim=5"),
        ((torch.zeros(2, 1, 4), torch.arange(2)), "flatten them"),
        (torch.zeros(2, 4), "the numbers of the items as integers"),
    ):
        with pytest.raises(ValueError, match=words):
            tokenizer().check_batch(batch)
    trainer = quiet_trainer()
    with pytest.raises(TypeError, match="ItemTokenizer has not"):
        SemanticIDWriter().write(trainer, tokenizer(), [torch.zeros(3)], "")
