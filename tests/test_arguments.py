"""Sizes and rates that no model can have, in the constructors of every family."""

from collections.abc import Callable
from typing import Any

import pytest

from discrete_lightning.models import (
    ArchitectureSearch,
    ArchitectureTraining,
    BernoulliVAE,
    CategoricalVAE,
    VQAutoencoder,
)
from discrete_lightning.nas.training import CostTarget, SearchOptimizers
from discrete_lightning.nn import NASBench201


def retrained(**options: Any) -> ArchitectureTraining:
    return ArchitectureTraining(NASBench201(channels=2, nodes=2), ["skip"], **options)


RATES = (0.0, -1.0, float("nan"), float("inf"))


@pytest.mark.parametrize(
    ("build", "name", "values"),
    [
        (VQAutoencoder, "hidden", (1, 0, -8)),
        (VQAutoencoder, "channels", (0, -1)),
        (VQAutoencoder, "learning_rate", RATES),
        (CategoricalVAE, "learning_rate", RATES),
        (CategoricalVAE, "pixels", (0, -1)),
        (BernoulliVAE, "learning_rate", RATES),
        (BernoulliVAE, "bound_samples", (0,)),
        (ArchitectureSearch, "classes", (0,)),
        (ArchitectureSearch, "image_shape", ((0, 28, 28), (1, 28))),
        (retrained, "learning_rate", RATES),
        (retrained, "weight_decay", (-1.0,)),
        (retrained, "classes", (0,)),
        (retrained, "image_shape", ((1, -28, 28),)),
        (SearchOptimizers, "learning_rate", RATES),
        (SearchOptimizers, "architecture_learning_rate", RATES),
        (SearchOptimizers, "final_learning_rate", (-1.0,)),
        (SearchOptimizers, "architecture_delay", (1.0, -0.1)),
        (lambda **options: CostTarget("flops", **options), "target", RATES),
    ],
)
def test_a_size_or_rate_that_no_model_can_have(build: Callable[..., Any], name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name} .*, got {str(value).replace('(', '.').replace(')', '.')}$"):
            build(**{name: value})


@pytest.mark.parametrize("model", [CategoricalVAE, BernoulliVAE])
def test_one_width_of_several(model: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^hidden\[1\] must be at least 1, got -4$"):
        model(hidden=[16, -4])
