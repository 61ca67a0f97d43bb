"""Runs of designers for tests: a trainer that itself writes nothing, a quick search, and the rows of a CSV file."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from discrete_lightning.design import (
    GradientSearch,
    Polish,
)
from discrete_lightning.design.oracles import TFBind8

BEST = float(TFBind8().table.max())


def search() -> GradientSearch:
    return GradientSearch(chains=32, steps=10, learning_rate=1.0, polish=Polish(proposals=8, patience=2, sequences=32))


def trainer(folder: Path, **options: Any) -> Trainer:
    settings: dict[str, Any] = {"max_epochs": -1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    settings |= {"enable_checkpointing": False, "enable_model_summary": False, "default_root_dir": str(folder)}
    return Trainer(**settings | options)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
