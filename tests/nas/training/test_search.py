"""ArchitectureSearch: what learns from which batch, which operations run, steps, clipping, delay, evaluation."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from discrete_lightning.callbacks import LearningRateAnnealing, TemperatureAnnealing
from discrete_lightning.estimators import LeaveOneOut, ReinMax
from discrete_lightning.models import (
    DARTS,
    GDAS,
    SNAS,
    SecondOrderDARTS,
)
from discrete_lightning.nas import (
    derive,
    hold_architecture,
    weight_parameters,
)
from discrete_lightning.nn import InvertedResidualSpace
from discrete_lightning.schedules import Constant, Linear
from tests.nas.training.searching import NormFree, Watch, assert_equal, served, state
from tests.tiny_images import FAST, SPACE, TinyImages, quiet_trainer, tiny_search, tiny_split

METHODS: list[Any] = [GDAS(), DARTS(), SecondOrderDARTS(), SNAS(), ReinMax(), LeaveOneOut(2)]


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


def test_derive_with_given_indices_builds_the_same_as_the_space() -> None:
    search = tiny_search(GDAS())
    with hold_architecture(search.network, [[3, 1, 2]]):
        shapes = [p.shape for p in derive(search.network).parameters()]
    names = [SPACE.options[i] for i in (3, 1, 2)]
    norms = [p.shape for p in SPACE.build(names, 1, 10).parameters() if p.ndim != 1 or len(p) == 10]
    assert shapes == norms
