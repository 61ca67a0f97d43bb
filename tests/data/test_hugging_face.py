"""Data sets of the package datasets, where it is installed."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from discrete_lightning.data import DataError, HuggingFaceImages


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'discrete_lightning\[datasets\]'"):
        HuggingFaceImages("somewhere").prepare_data()


@pytest.mark.filterwarnings("ignore")
def test_a_folder_written_by_save_to_disk(tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets")

    def table(count: int) -> Any:
        images = [Image.fromarray(np.full((12, 10, 3), 10 * i, np.uint8)) for i in range(count)]
        features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
        columns = {"image": images, "label": [i % 2 for i in range(count)]}
        return datasets.Dataset.from_dict(columns, features=datasets.Features(features))

    datasets.DatasetDict({"train": table(20), "test": table(4)}).save_to_disk(str(tmp_path / "pets"))
    data = HuggingFaceImages(str(tmp_path / "pets"), size=8, batch_size=4)
    data.prepare_data()
    images, labels = next(iter(data.test_dataloader()))
    assert images.shape == (4, 3, 8, 8)
    assert labels.tolist() == [0, 1, 0, 1]
    assert (data.class_names, data.image_shape) == (("cat", "dog"), (3, 8, 8))
    assert [len(data.dataset(split)) for split in ("train", "validation", "test")] == [18, 2, 4]
    with pytest.raises(DataError, match="expected a column of images photo, found"):
        HuggingFaceImages(str(tmp_path / "pets"), image="photo").setup()
