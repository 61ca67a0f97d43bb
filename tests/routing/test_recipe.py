"""recipes/routing/train.py: a whole program of a user, trained for a few batches."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.windows import TextWindows
from discrete_lightning.nn import BiasBalancedRouter
from tests.references.inputs import seeded
from tests.tiny_images import quiet_trainer

PATH = Path(__file__).parents[2] / "recipes" / "routing" / "train.py"


@pytest.fixture(scope="module")
def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("recipe_of_routing", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_short() -> None:
    assert len(PATH.read_text().splitlines()) <= 90


@pytest.mark.parametrize("router", ["bias_balanced", "top_k", "paired"])
def test_it_trains_and_tests(recipe: Any, router: str) -> None:
    torch.manual_seed(0)
    model = recipe.PlayModel(dim=8, heads=2, layers=1, router=router)
    data = DataLoader(TextWindows(torch.arange(100) % 96, 8), batch_size=4, collate_fn=as_is)
    trainer = quiet_trainer()
    trainer.fit(model, data)
    assert 0 < trainer.test(model, data, verbose=False)[0]["test/nats_per_character"] < 10
    if router == "bias_balanced":
        routers = [each for each in model.modules() if isinstance(each, BiasBalancedRouter)]
        assert all(each.bias.abs().sum() > 0 for each in routers)


def test_it_is_causal(recipe: Any) -> None:
    torch.manual_seed(0)
    model = recipe.PlayModel(dim=8, heads=2, layers=2).eval()
    tokens = torch.randint(96, (2, 12), generator=seeded(0))
    other = torch.cat([tokens[:, :-1], (tokens[:, -1:] + 1) % 96], 1)
    with torch.no_grad():
        torch.testing.assert_close(model(other)[:, :-1], model(tokens)[:, :-1], rtol=1e-5, atol=1e-5)
