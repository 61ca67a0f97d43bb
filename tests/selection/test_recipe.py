"""recipes/selection/train.py: a whole program of a user, trained for a few batches."""

import importlib.util
from pathlib import Path

import pytest

from discrete_lightning.callbacks import Budget
from discrete_lightning.data import FeatureTable
from tests.tiny_images import quiet_trainer

PATH = Path(__file__).parents[2] / "recipes" / "selection" / "train.py"


@pytest.mark.parametrize("budget", [2, 3])
def test_it_trains_and_tests(budget: int) -> None:
    spec = importlib.util.spec_from_file_location("recipe_of_selection", PATH)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    data = FeatureTable("iris", batch_size=32, epoch_rows=320)
    data.setup()
    model = recipe.GatedClassifier(4, classes=3)
    trainer = quiet_trainer(callbacks=[Budget(budget)])
    trainer.fit(model, data.train_dataloader())
    assert int(model.gate.open().sum()) == budget
    assert 0 <= trainer.test(model, data, verbose=False)[0]["test/accuracy"] <= 1
