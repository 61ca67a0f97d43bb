"""What a search costs, what the found network may cost, and the config of the next step."""

import json
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from discrete_lightning.estimators import LeaveOneOut, ReinMax
from discrete_lightning.models import (
    DARTS,
    GDAS,
    CostTarget,
    Sampled,
)
from tests.tiny_images import FAST, SPACE, quiet_trainer, tiny_search, tiny_split


@pytest.mark.parametrize("measure", ["parameters", "flops", "latency"])
def test_the_target_is_met(measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, fixed = SPACE.costs(torch.zeros(1, 1, 28, 28), 10, measure)
    # the search gets this measurement, too: a second one, under load, may find every cell above the target
    monkeypatch.setattr(type(SPACE), "costs", lambda *_: (table, fixed))
    target = fixed + 0.4 * float(table.amax(1).sum()) + 0.6 * float(table.amin(1).sum())
    search = tiny_search(GDAS(), cost=CostTarget(measure, target))
    trainer = quiet_trainer(max_epochs=1)
    with torch.no_grad():
        search.choice.logits[:, 3] = 3.0  # conv3x3 everywhere: far above the target
    trainer.fit(search, tiny_split())
    choice = search.choice
    assert choice.cost(choice.decide()) <= target
    assert float(search.multiplier()) > 0
    if measure == "parameters":  # the count of the network that is built to be trained
        network = SPACE.build(search.architecture(), 1, 10)
        assert sum(each.numel() for each in network.parameters()) <= target


def test_multiplier_brings_the_likeliest_architecture_under_the_target() -> None:
    """Not only the decision: the search itself is moved to where the target is."""
    search = tiny_search(GDAS(), cost=CostTarget("parameters", 120, rate=0.2))
    with torch.no_grad():
        search.choice.logits[:, 3] = 1.0
    before = search.choice.scores().argmax(-1).tolist()
    quiet_trainer(max_epochs=8, limit_val_batches=0).fit(search, tiny_split())
    after = search.choice.scores().argmax(-1).tolist()
    assert search.choice.cost(before) > 120 >= search.choice.cost(after)


def test_retraining_config_names_what_was_found() -> None:
    search = tiny_search(Sampled(ReinMax()))
    quiet_trainer(limit_val_batches=0).fit(search, tiny_split())
    config = search.retraining_config()
    arguments = config["model"]["init_args"]
    assert arguments["architecture"] == search.architecture()
    assert arguments["random_architectures"] == search.random_architectures()
    assert search.retraining_config() == config  # no clock has a part in it
    assert SPACE.read(json.loads(json.dumps(search.architecture_record()))) == search.architecture()


def training_flops(architecture: list[str], images: int) -> int:
    """Of one training step."""
    network = SPACE.build(architecture, 1, 10)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(images, 1, 28, 28)).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(("epochs", "retrain"), [(6, 2), (1, 10)])
def test_random_search_gets_the_operations_of_the_search(epochs: int, retrain: int) -> None:
    space = SPACE.changed(operations=("conv1x1", "conv3x3"))
    slow = type(FAST)(architecture_learning_rate=1e-6)
    search = tiny_search(GDAS(), space=space, retrain_epochs=retrain, optimizers=slow)
    with torch.no_grad():
        search.choice.logits[:, 1] = 100.0  # every draw is the found architecture
    quiet_trainer(limit_val_batches=0, max_epochs=epochs).fit(search, tiny_split())  # 6 batches of 2 * 8 an epoch
    spent = search.flops.total(6 * epochs)
    # the step of the choices computes no gradient of weights, so a step costs less than a training step on both halves
    assert 0.5 < spent / (6 * epochs * training_flops(["conv3x3"] * 3, 16)) < 1
    drawn = search.random_architectures()
    costs = [6 * retrain * training_flops(each, 16) for each in drawn]
    assert sum(costs) <= spent < sum(costs) + 6 * retrain * training_flops(["conv3x3"] * 3, 16) or len(drawn) == 1
    assert len(drawn) == 1 if retrain == 10 else len(drawn) >= 3


def test_random_search_stays_within_the_target_and_20_trainings() -> None:
    search = tiny_search(DARTS(), cost=CostTarget("parameters", 100), retrain_epochs=1)
    quiet_trainer(limit_val_batches=0).fit(search, tiny_split())
    search.flops.counted = {0: 10**12}
    drawn = search.retraining_config()["model"]["init_args"]["random_architectures"]
    assert len(drawn) == 20
    costs = [search.choice.cost(search.choice.indices(each)) for each in drawn]
    assert max(costs) <= 100


def test_mixtures_cost_the_operations_of_all_options() -> None:
    searches = [tiny_search(method) for method in (DARTS(), GDAS(), LeaveOneOut(4))]
    for search in searches:
        quiet_trainer(limit_val_batches=0).fit(search, tiny_split())
    darts, gdas, four = (search.flops.total(1) for search in searches)
    assert darts > 1.2 * gdas  # the tiny network's stem and head cost the same in both
    assert four > 1.5 * gdas


def test_cost_is_known_without_a_target() -> None:
    search = tiny_search(GDAS())
    trainer = quiet_trainer(limit_val_batches=0)
    trainer.fit(search, tiny_split())
    size = sum(each.numel() for each in SPACE.build(search.architecture(), 1, 10).parameters())
    assert search.architecture_record()["cost"] == {"measure": "parameters", "cost": pytest.approx(search.cost())}
    assert float(trainer.callback_metrics["search/cost"]) == search.cost()
    assert size <= search.cost()  # operations that lead nowhere are paid for in the search
