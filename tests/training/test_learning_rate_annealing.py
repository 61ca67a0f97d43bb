"""A learning rate by a schedule: equal to torch's scheduler of the same formula, and exact when resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor

from discrete_lightning.callbacks import LearningRateAnnealing
from discrete_lightning.schedules import Cosine, Delayed, Linear
from tests.training.annealed_module import KilledError, Model, TwoOptimizers, fit

pytestmark = pytest.mark.filterwarnings(
    "ignore:Be aware that when using `ckpt_path`, callbacks",
    "ignore:You're resuming from a checkpoint that ended before the epoch ended",
)


class Rates(Callback):
    """The learning rate of every optimiser's groups in each step."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.seen.append([float(group["lr"]) for each in trainer.optimizers for group in each.param_groups])


class TorchCosine(Model):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=14, eta_min=0.01)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def test_as_torchs_cosine() -> None:
    ours, torchs = Model(), TorchCosine()
    rates, expected = Rates(), Rates()
    trainer = fit(ours, LearningRateAnnealing(Cosine(0.1, 0.01, steps=1)), rates)
    fit(torchs, expected)
    # torch's is stepped before the batch ends
    assert [rate for (rate,) in rates.seen][1:] == pytest.approx([rate for (rate,) in expected.seen][:-1], rel=1e-12)
    for one, other in zip(ours.weights, torchs.weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    assert float(trainer.logged_metrics["learning_rate"]) == pytest.approx(rates.seen[-1][0])


def test_resumed_in_the_middle_it_goes_on_exactly(tmp_path: Path) -> None:
    def run(model: Model, **options: Any) -> tuple[Model, Rates]:
        rates = Rates()
        fit(model, LearningRateAnnealing(Delayed(Cosine(0.1, 0.0, steps=0.6), steps=0.4)), rates, **options)
        return model, rates

    whole, rates = run(Model())
    killed = Model(die_at=11)
    with pytest.raises(KilledError):
        run(killed, root=tmp_path)
    resumed, later = run(Model(), ckpt_path=tmp_path / "step=10.ckpt")
    assert later.seen == rates.seen[10:]
    for one, other in zip(resumed.weights, whole.weights[10:], strict=True):
        assert torch.equal(one, other)


class Groups(TwoOptimizers):
    """An optimiser of two groups, one of whose learning rates is a tensor, and another optimiser."""

    def configure_optimizers(self) -> Any:
        first = torch.optim.SGD([{"params": [self.layer.weight], "lr": torch.tensor(0.5)}], lr=0.1)
        first.add_param_group({"params": [self.extra]})
        return [first, torch.optim.SGD([self.layer.bias], lr=0.3)]

    def __init__(self) -> None:
        super().__init__()
        self.extra = torch.nn.Parameter(torch.zeros(1))

    def loss(self, batch: Tensor) -> Tensor:
        return super().loss(batch) + self.extra.sum()


def test_all_groups_of_the_optimiser_that_is_named() -> None:
    rates = Rates()
    trainer = fit(Groups(), LearningRateAnnealing(Linear(1.0, 0.0, steps=8), "batches", optimizer=0), rates)
    values = [max(0.0, 1 - batch / 8) for batch in range(14)]
    assert rates.seen == [[value, value, 0.3] for value in values]
    assert isinstance(trainer.optimizers[0].param_groups[0]["lr"], Tensor)
    assert trainer.logged_metrics.keys() == {"learning_rate/0"}


def test_a_negative_rate() -> None:
    with pytest.raises(ValueError, match=r"optimizer_steps 3: a learning rate must not be negative, got -0\.5"):
        fit(Model(), LearningRateAnnealing(Linear(1.0, -1.0, steps=4), "optimizer_steps"))
