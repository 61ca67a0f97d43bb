import copy
import functools
import json
import math
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader

from discrete_lightning.callbacks import LearningRateAnnealing, TemperatureAnnealing
from discrete_lightning.estimators import LeaveOneOut, ReinMax
from discrete_lightning.models import (
    DARTS,
    GDAS,
    SNAS,
    ArchitectureSearch,
    CostTarget,
    Sampled,
    SearchMethod,
    SecondOrderDARTS,
)
from discrete_lightning.nas import (
    architecture_parameters,
    derive,
    held,
    unrolled_gradient,
    weight_parameters,
)
from discrete_lightning.nn import InvertedResidualSpace, OneOf
from discrete_lightning.schedules import Constant, Linear
from tests.ranks import run_on_ranks
from tests.tiny_images import FAST, SPACE, TinyImages, quiet_trainer, tiny_search, tiny_split

METHODS: list[Any] = [GDAS(), DARTS(), SecondOrderDARTS(), SNAS(), ReinMax(), LeaveOneOut(2)]


def served(batches: list[Any]) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class Watch(Callback):
    """Which options run in which step, what is seen, and the temperature."""

    def __init__(self) -> None:
        self.ran: list[set[tuple[int, int]]] = []
        self.calls: list[int] = []
        self.taus: list[float] = []
        self.labels: list[Tensor] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for layer in pl_module.modules():
            if isinstance(layer, OneOf):
                for index, option in enumerate(layer.options):
                    option.register_forward_hook(self._hook(layer.row, index))

    def _hook(self, row: int, index: int) -> Any:
        def hook(*_: Any) -> None:
            if self.ran:
                self.ran[-1].add((row, index))
                self.calls[-1] += 1

        return hook

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.ran.append(set())
        self.labels.append(batch["weights"][1])
        self.calls.append(0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.taus.append(float(pl_module.choice.sampler.temperature()))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_every_method_learns_weights_and_architecture(method: Any) -> None:
    search = tiny_search(method)
    before = state(search.network)
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(search, tiny_split())
    after = state(search.network)
    assert not torch.equal(before["choice.logits"], after["choice.logits"])
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert {"val/accuracy", "val/relaxation_gap", "search/choice_entropy", "search/skip_share"} <= set(
        trainer.callback_metrics
    )
    assert trainer.global_step == 2 * 12


def test_gdas_runs_two_draws_a_step_and_anneals() -> None:
    space = InvertedResidualSpace(channels=(2, 4), strides=(2, 2), layers=1, kernels=(3,), expansions=(1, 2))
    search = tiny_search(GDAS(Linear(10.0, 0.1, steps=1)), space=space)
    watch = Watch()
    quiet_trainer(max_epochs=2, callbacks=[watch], limit_val_batches=0).fit(search, tiny_split())
    # one draw for the weights, one for the architecture: each runs one option a row and call
    assert set(watch.calls) == {2 * space.choices}
    assert all(len(ran) <= 2 * space.choices for ran in watch.ran)
    assert any(len(ran) > space.choices for ran in watch.ran)  # the two draws are separate ones
    assert watch.taus[0] == pytest.approx(10.0)
    assert all(a > b for a, b in zip(watch.taus, watch.taus[1:], strict=False))
    assert watch.taus[-1] == pytest.approx(10 - 9.9 * 11 / 12, rel=1e-4)


def test_cells_share_a_draw() -> None:
    search = tiny_search(GDAS(), space=SPACE.changed(cells=3))
    watch = Watch()
    quiet_trainer(callbacks=[watch], limit_val_batches=0).fit(search, tiny_split())
    assert set(watch.calls) == {2 * 3 * SPACE.choices}
    assert all(len(ran) <= 2 * SPACE.choices for ran in watch.ran)  # not more kinds of operations than one cell has


def test_weights_and_architecture_learn_from_their_own_batches() -> None:
    def grown(which: str) -> dict[str, Tensor]:
        """State after a step in which the other half's images are replaced."""
        search = tiny_search(DARTS())
        torch.manual_seed(0)
        batch = {name: (torch.rand(8, 1, 28, 28), torch.arange(8)) for name in ("weights", "architecture")}
        if which:
            batch[which] = (torch.rand(8, 1, 28, 28), torch.arange(8))
        trainer = quiet_trainer(max_epochs=1, limit_val_batches=0)
        trainer.fit(search, served([batch]), served([batch["weights"]]))
        return state(search.network)

    base, other_weights, other_architecture = grown(""), grown("weights"), grown("architecture")
    assert torch.equal(base["choice.logits"], other_weights["choice.logits"])
    assert not torch.equal(base["choice.logits"], other_architecture["choice.logits"])
    assert torch.equal(base["head.weight"], other_architecture["head.weight"])
    assert not torch.equal(base["head.weight"], other_weights["head.weight"])


class NormFree(ArchitectureSearch):
    """Without batch statistics a batch of 16 is the sum of two of 8."""

    def __init__(self, method: Any, accumulate: int) -> None:
        # without `none`: networks that compute nothing have equal losses, whose rounding Adam would make steps of
        space = SPACE.changed(operations=("skip", "conv1x1", "conv3x3"))
        super().__init__(method, space, optimizers=FAST, accumulate=accumulate)
        for parent in list(self.network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, nn.Identity())


@pytest.mark.parametrize("method", [GDAS(), DARTS(), SNAS(), ReinMax()], ids=repr)
def test_accumulation_equals_a_larger_batch(method: Any) -> None:
    results = []
    for accumulate in (1, 2):
        torch.manual_seed(0)
        search = NormFree(method, accumulate)
        torch.manual_seed(1)
        large = [{k: (torch.rand(16, 1, 28, 28), torch.randint(10, (16,))) for k in ("weights", "architecture")}] * 3
        small = [
            {name: tuple(part[half] for part in pair) for name, pair in batch.items()}
            for batch in large
            for half in (slice(0, 8), slice(8, 16))
        ]
        trainer = quiet_trainer(limit_val_batches=0)
        trainer.fit(search, served(large if accumulate == 1 else small), served([small[0]["weights"]]))
        assert trainer.global_step == 6
        results.append(state(search.network))
    for name, value in results[0].items():
        torch.testing.assert_close(
            results[1][name], value, rtol=2e-4, atol=2e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_a_window_cut_by_the_epochs_end_is_stepped() -> None:
    search = tiny_search(GDAS(), accumulate=4)
    trainer = quiet_trainer(limit_val_batches=0)
    trainer.fit(search, tiny_split())  # 6 batches: windows of 4 and 2
    assert trainer.global_step == 4


def test_gradients_are_clipped() -> None:
    norms: list[float] = []

    class Spy(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
            if isinstance(optimizer, torch.optim.SGD):
                gradients = [p.grad for p in weight_parameters(pl_module.network) if p.grad is not None]
                norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))

    search = tiny_search(DARTS(), optimizers=type(FAST)(clip=0.01))
    quiet_trainer(callbacks=[Spy()], limit_val_batches=0).fit(search, tiny_split())
    assert norms
    assert max(norms) <= 0.01 * 1.001


class SaveAt(Callback):
    def __init__(self, path: Path, epoch: int, batch: int) -> None:
        self.path, self.at = path, (epoch, batch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            trainer.save_checkpoint(self.path, weights_only=False)


@pytest.mark.parametrize(("batch", "method"), [(2, GDAS()), (5, ReinMax()), (3, SecondOrderDARTS())], ids=repr)
def test_resumed_in_mid_search_it_goes_on_exactly(batch: int, method: Any, tmp_path: Path) -> None:
    path = tmp_path / "mid.ckpt"
    whole = tiny_search(method, cost=CostTarget("parameters", 150))
    quiet_trainer(max_epochs=3, callbacks=[SaveAt(path, 1, batch)]).fit(whole, tiny_split())
    resumed = tiny_search(method, cost=CostTarget("parameters", 150))
    torch.manual_seed(77)  # another state of the default generator
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(resumed, tiny_split(), ckpt_path=path, weights_only=True)
    assert trainer.global_step == 2 * 18
    assert_equal(state(whole), state(resumed))


class SaveInside(ArchitectureSearch):
    """Writes a checkpoint in the middle of a training batch, or of validation, as Ctrl-C does; and goes on."""

    path: Path | None = None
    at: tuple[int, int, str] = (1, 0, "")

    def task_loss(self, batch: Any) -> Tensor:
        self.save("training")
        return super().task_loss(batch)

    def _correct(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.save("validation")
        return super()._correct(images, labels)

    def save(self, stage: str) -> None:
        index = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        if (self.trainer.current_epoch, index, stage) == self.at and self.path is not None and not self.path.exists():
            self.trainer.save_checkpoint(self.path, weights_only=False)


@pytest.mark.parametrize(
    ("accumulate", "batch", "stage"), [(1, 2, "training"), (3, 1, "training"), (3, 5, "training"), (1, 5, "validation")]
)
def test_resumed_from_the_middle_of_a_step(accumulate: int, batch: int, stage: str, tmp_path: Path) -> None:
    def search() -> SaveInside:
        tiny_search(GDAS())  # seeds
        return SaveInside(GDAS(), SPACE, optimizers=FAST, accumulate=accumulate)

    whole = search()
    whole.path, whole.at = tmp_path / "inside.ckpt", (1, batch, stage)
    quiet_trainer(max_epochs=3).fit(whole, tiny_split())
    resumed = search()
    torch.manual_seed(77)
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(resumed, tiny_split(), ckpt_path=whole.path, weights_only=True)
    assert trainer.global_step == 2 * 18 // accumulate
    assert_equal(state(whole), state(resumed))


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_resumed_from_a_checkpoint_between_the_batches_of_a_step(batch: int, tmp_path: Path) -> None:
    path = tmp_path / "mid.ckpt"
    whole = tiny_search(GDAS(), accumulate=3)
    quiet_trainer(max_epochs=3, callbacks=[SaveAt(path, 1, batch)]).fit(whole, tiny_split())
    resumed = tiny_search(GDAS(), accumulate=3)
    quiet_trainer(max_epochs=3).fit(resumed, tiny_split(), ckpt_path=path, weights_only=True)
    assert_equal(state(whole), state(resumed))


def test_weights_learn_alone_during_the_delay() -> None:
    seen: list[Tensor] = []

    class Spy(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            seen.append(pl_module.choice.logits.detach().clone())

    search = tiny_search(GDAS(), optimizers=type(FAST)(architecture_delay=0.5))
    before = state(search.network)
    quiet_trainer(max_epochs=2, callbacks=[Spy()], limit_val_batches=0).fit(search, tiny_split())
    moved = [bool((logits != before["choice.logits"]).any()) for logits in seen]
    assert moved == [False] * 6 + [True] * 6
    assert not torch.equal(before["head.weight"], search.network.head.weight)


def test_second_order_gradient_is_that_of_the_unrolled_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact, by autograd through a step of SGD with momentum, after steps that filled the momentum."""
    # a smaller difference than the paper's, which this small network's kinks would spoil
    fine = functools.partial(unrolled_gradient, radius=1e-6)
    monkeypatch.setattr("discrete_lightning.nas.training.search.unrolled_gradient", fine)
    found: dict[str, Any] = {}

    class Spy(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 3:
                found["network"] = copy.deepcopy(pl_module.network)
                sgd = trainer.optimizers[0]
                momentum = [sgd.state[each]["momentum_buffer"].clone() for each in weight_parameters(pl_module.network)]
                found["momentum"], found["batch"] = momentum, batch

        def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
            if isinstance(optimizer, torch.optim.SGD):
                found["rate"] = optimizer.param_groups[0]["lr"]
            elif trainer.fit_loop.epoch_loop.batch_progress.current.ready == 4:
                found["gradient"] = pl_module.choice.logits.grad.clone()

    search = tiny_search(SecondOrderDARTS(), optimizers=type(FAST)(learning_rate=0.2, weight_decay=0.01))
    trainer = quiet_trainer(callbacks=[Spy()], limit_val_batches=0, limit_train_batches=4, precision="64-true")
    trainer.fit(search, tiny_split())
    network = found["network"].double()
    alpha, names = network.choice.logits, {id(value): name for name, value in network.named_parameters()}
    weights = weight_parameters(network)

    def loss(values: list[Tensor], which: str) -> Tensor:
        images, labels = found["batch"][which]
        given = {names[id(weight)]: value for weight, value in zip(weights, values, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(network, given, (images.double(),)), labels)

    def exact(rate: float, momentum: float) -> Tensor:
        slopes = torch.autograd.grad(loss(weights, "weights"), weights, create_graph=True)
        steps = [
            weight - rate * (momentum * buffer + slope + 0.01 * weight)
            for weight, buffer, slope in zip(weights, found["momentum"], slopes, strict=True)
        ]
        return torch.autograd.grad(loss(steps, "architecture"), alpha)[0]

    expected = exact(found["rate"], 0.9)
    error = (found["gradient"] - expected).norm()
    assert error < 0.02 * (exact(0.0, 0.9) - expected).norm()  # of what the second order and
    assert error < 0.02 * (exact(found["rate"], 0.0) - expected).norm()  # the momentum make of it


def test_validation_changes_nothing() -> None:
    one, other = tiny_search(GDAS()), tiny_search(GDAS())
    quiet_trainer(max_epochs=2).fit(one, tiny_split())
    quiet_trainer(max_epochs=2, limit_val_batches=0).fit(other, tiny_split())
    assert_equal(state(one.network), state(other.network))


def test_derived_network_computes_what_is_validated() -> None:
    search = tiny_search(GDAS())
    quiet_trainer().fit(search, tiny_split())
    search.eval()
    images = torch.rand(6, 1, 28, 28)
    torch.testing.assert_close(search.derive().eval()(images), search(images))


@pytest.mark.parametrize("measure", ["parameters", "flops", "latency"])
def test_the_target_is_met(measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, fixed = SPACE.costs(torch.zeros(1, 1, 28, 28), 10, measure)
    # the search gets this measurement, too: on a busy machine a second one may find every cell dearer than the target
    monkeypatch.setattr(type(SPACE), "costs", lambda *_: (table, fixed))
    target = fixed + 0.4 * float(table.amax(1).sum()) + 0.6 * float(table.amin(1).sum())
    search = tiny_search(GDAS(), cost=CostTarget(measure, target))
    trainer = quiet_trainer(max_epochs=1)
    with torch.no_grad():
        search.choice.logits[:, 3] = 3.0  # conv3x3 everywhere: far too dear
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


def test_temperature_callback_serves_where_the_method_leaves_it() -> None:
    search = tiny_search(GDAS(temperature=None))
    quiet_trainer(callbacks=[TemperatureAnnealing(Constant(0.25))], limit_val_batches=0).fit(search, tiny_split())
    assert float(search.choice.sampler.temperature()) == 0.25


def test_a_schedule_of_the_choices_own_learning_rate() -> None:
    search, rate = tiny_search(GDAS()), Linear(1.0, 0.0, steps=1)
    trainer = quiet_trainer(callbacks=[LearningRateAnnealing(rate, optimizer=1)], limit_val_batches=0)
    trainer.fit(search, tiny_split())  # 6 batches
    assert trainer.optimizers[1].param_groups[0]["lr"] == rate(5 / 6)


def test_one_level_takes_plain_batches_and_two_levels_do_not() -> None:
    search = tiny_search(SNAS())
    quiet_trainer(limit_val_batches=0).fit(search, TinyImages(batch_size=8))
    with pytest.raises(ValueError, match="SearchSplit"):
        quiet_trainer(limit_val_batches=0).fit(tiny_search(GDAS()), TinyImages(batch_size=8))


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
            r"TemperatureAnnealing by Constant\(value=0.5\) sets what ArchitectureSearch sets by Linear.*: remove the",
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


def test_next_config_names_what_was_found() -> None:
    search = tiny_search(Sampled(ReinMax()))
    quiet_trainer(limit_val_batches=0).fit(search, tiny_split())
    config = search.next_config()
    arguments = config["model"]["init_args"]
    assert arguments["architecture"] == search.architecture()
    assert len(arguments["random_architectures"]) == search.affordable_architectures()
    assert SPACE.read(json.loads(json.dumps(search.architecture_record()))) == search.architecture()


def test_random_search_gets_what_the_search_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    search = tiny_search(GDAS(), cost=CostTarget("parameters", 100), retrain_epochs=2)
    quiet_trainer(limit_val_batches=0).fit(search, tiny_split())  # 6 batches
    monkeypatch.setattr("discrete_lightning.nas.training.evaluation._step_seconds", lambda *_: 0.5)
    search.search_seconds = 42.0
    drawn = search.next_config()["model"]["init_args"]["random_architectures"]
    assert len(drawn) == 42 / (0.5 * 6 * 2)
    costs = [search.choice.cost(search.choice.indices(each)) for each in drawn]
    assert max(costs) <= 100


def test_cost_is_known_without_a_target() -> None:
    search = tiny_search(GDAS())
    trainer = quiet_trainer(limit_val_batches=0)
    trainer.fit(search, tiny_split())
    size = sum(each.numel() for each in SPACE.build(search.architecture(), 1, 10).parameters())
    assert search.architecture_record()["cost"] == {"measure": "parameters", "cost": pytest.approx(search.cost())}
    assert float(trainer.callback_metrics["search/cost"]) == search.cost()
    assert size <= search.cost()  # operations that lead nowhere are paid for in the search


def test_resumed_with_another_measure_or_none(tmp_path: Path) -> None:
    path = tmp_path / "flops.ckpt"
    search = tiny_search(GDAS(), cost=CostTarget("flops", 1e6))
    trainer = quiet_trainer(limit_val_batches=0)
    trainer.fit(search, tiny_split())
    trainer.save_checkpoint(path, weights_only=False)
    for cost in (CostTarget("parameters", 150), None):
        resumed = tiny_search(GDAS(), cost=cost)
        quiet_trainer(max_epochs=2, limit_val_batches=0).fit(resumed, tiny_split(), ckpt_path=path, weights_only=True)
        table, _ = SPACE.costs(torch.zeros(1, 1, 28, 28), 10, "parameters")
        assert torch.equal(resumed.choice.costs, table)
        assert float(resumed.choice.limit) == (150 if cost else math.inf)


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


def test_derive_with_given_indices_builds_the_same_as_the_space() -> None:
    search = tiny_search(GDAS())
    with held(search.network, [[3, 1, 2]]):
        shapes = [p.shape for p in derive(search.network).parameters()]
    names = [SPACE.options[i] for i in (3, 1, 2)]
    norms = [p.shape for p in SPACE.build(names, 1, 10).parameters() if p.ndim != 1 or len(p) == 10]
    assert shapes == norms


METHODS_ON_RANKS: list[SearchMethod] = [GDAS(), DARTS(), SecondOrderDARTS(), Sampled(LeaveOneOut(2))]


def _batches() -> list[dict[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(1)

    def batch() -> tuple[Tensor, Tensor]:
        return torch.rand(16, 1, 28, 28, generator=generator), torch.randint(10, (16,), generator=generator)

    return [{name: batch() for name in ("weights", "architecture")} for _ in range(3)]


def _without_norms(method: SearchMethod, batches: list[Any], **arguments: Any) -> dict[str, Tensor]:
    seed_everything(3, verbose=False)
    search = NormFree(method, 1)
    trainer = quiet_trainer(limit_val_batches=0, use_distributed_sampler=False, **arguments)
    trainer.fit(search, served(batches), served([batches[0]["weights"]]))
    return state(search.network)


def _search_on_a_rank(port: int) -> tuple[list[Any], list[dict[str, Tensor]]]:
    rank = torch.distributed.get_rank()
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    results = []
    for method in METHODS_ON_RANKS:
        search = tiny_search(method, cost=CostTarget("latency", 1e6))
        if rank:  # ranks that disagree at the start
            search.choice.seed += 1
        watch = Watch()
        trainer = quiet_trainer(max_epochs=2, strategy="ddp", devices=2, precision="bf16-mixed", callbacks=[watch])
        trainer.fit(search, tiny_split())
        logits = architecture_parameters(search.network)[0].detach().clone()
        record = json.dumps(search.architecture_record())
        results.append((logits, record, [p.detach().clone() for p in search.parameters()], torch.cat(watch.labels)))
    own = slice(8 * rank, 8 * rank + 8)
    half = [{name: tuple(part[own] for part in pair) for name, pair in each.items()} for each in _batches()]
    return results, [_without_norms(method, half, strategy="ddp", devices=2) for method in METHODS_ON_RANKS[:3]]


@pytest.fixture(scope="module")
def ranks() -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return run_on_ranks(_search_on_a_rank, port)


def test_two_ranks_find_one_architecture_under_bf16_mixed(ranks: Any) -> None:
    for (logits, record, weights, labels), (other_logits, other_record, other_weights, other_labels) in zip(
        *(results for results, _ in ranks), strict=True
    ):
        assert torch.equal(logits, other_logits)
        assert logits.abs().sum() > 0
        assert record == other_record
        assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))
        assert not torch.equal(labels, other_labels)  # they learned from different images


def test_two_ranks_learn_what_one_learns_from_both_their_batches(ranks: Any) -> None:
    # without LeaveOneOut, some of whose gradients are exactly 0: Adam makes steps of their rounding
    for method, on_two in zip(METHODS_ON_RANKS[:3], ranks[0][1], strict=True):
        for name, value in _without_norms(method, _batches()).items():
            torch.testing.assert_close(
                on_two[name], value, rtol=5e-4, atol=5e-5, msg=lambda text, m=method, n=name: f"{m} {n}: {text}"
            )
