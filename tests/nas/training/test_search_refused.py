"""What ArchitectureSearch refuses, before training where it can be known."""

from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from discrete_lightning.callbacks import LearningRateAnnealing, TemperatureAnnealing
from discrete_lightning.estimators import ReinMax
from discrete_lightning.models import (
    GDAS,
    ArchitectureSearch,
    CostTarget,
    Sampled,
    SecondOrderDARTS,
)
from discrete_lightning.nn import OneOf
from discrete_lightning.schedules import Constant, Linear
from tests.tiny_images import SPACE, quiet_trainer, tiny_search, tiny_split


class Uneven(ArchitectureSearch):
    """One option of the first choice halves the image."""

    def __init__(self) -> None:
        super().__init__(GDAS(), SPACE)
        layer = next(each for each in self.network.modules() if isinstance(each, OneOf))
        layer.options[2] = nn.Conv2d(2, 2, 1, stride=2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tiny_search(SecondOrderDARTS(), accumulate=2), "accumulate=1"),
        (lambda: tiny_search(GDAS(), accumulate=0), "at least 1"),
        (lambda: tiny_search(GDAS(), retrain_epochs=0), "retrain_epochs must be at least 1"),
        (lambda: GDAS(Linear(1.0, 0.0, steps=1)), "must be positive, it goes from 1 to 0"),
        (lambda: Sampled(ReinMax(), Linear(1.0, 0.1, steps=100)), "reaches to 100: steps=1 is the whole search"),
        (lambda: CostTarget("parameters", -1.0), "positive"),
    ],
)
def test_wrong_arguments(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("search", "options", "words"),
    [
        (lambda: Uneven(), {}, "one shape"),
        (lambda: tiny_search(GDAS(), cost=CostTarget("parameters", 1.0)), {}, "cheapest of all choices costs"),
        (lambda: tiny_search(SecondOrderDARTS()), {"precision": "bf16-true"}, "32-true, bf16-mixed"),
        (
            lambda: tiny_search(GDAS()),
            {"callbacks": [TemperatureAnnealing(Constant(0.5))]},
            r"TemperatureAnnealing sets it by Constant\(value=0.5\), and ArchitectureSearch by Linear.*: remove the",
        ),
        (
            lambda: tiny_search(GDAS()),
            {"callbacks": [LearningRateAnnealing(Constant(0.5), optimizer=0)]},
            "set learning_rate and final_learning_rate of model.optimizers",
        ),
    ],
)
def test_refused_before_training(search: Any, options: dict[str, Any], words: str) -> None:
    started: list[int] = []

    class Started(Callback):
        def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            started.append(1)

    with pytest.raises(ValueError, match=words):
        quiet_trainer(**options | {"callbacks": [Started(), *options.get("callbacks", [])]}).fit(search(), tiny_split())
    assert not started


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_shape": (3, 28, 28)}, r"serves images of \[1, 28, 28\]"),
        ({"classes": 5}, "classes is 5, and a label is"),
    ],
)
def test_images_that_the_network_was_not_built_for(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        quiet_trainer().fit(tiny_search(GDAS(), **arguments), tiny_split())
