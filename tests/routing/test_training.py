"""Mixtures in Lightning: biases are updated without a callback of the user's, monitors see routers, averaging leaves them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.callbacks import ChoiceMonitor, RouterMonitor, StepUpdates, WeightAnnealing
from discrete_lightning.routing import (
    BiasBalancedRouter,
    Conditional,
    ExpertMLP,
    MixtureOfExperts,
    SwitchRouter,
    routing_loss,
)
from discrete_lightning.routing.router import Router
from discrete_lightning.schedules import Linear
from tests.references.inputs import seeded
from tests.tiny_images import quiet_trainer

DIM, N = 4, 5


class Model(LightningModule):
    """Two mixtures and a block that half of the tokens pass; no base class of ours."""

    def __init__(self) -> None:
        super().__init__()
        form = ExpertMLP(DIM, 8)
        self.first = MixtureOfExperts(form, N, 2, router=BiasBalancedRouter(DIM, N, 2, speed=0.01))
        self.second = MixtureOfExperts(form, N, 1, router=SwitchRouter(DIM, N))
        self.depth = Conditional(nn.Linear(DIM, DIM), tokens="independent")

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        y = self.depth(self.second(self.first(batch[0])))
        loss = (y - batch[0].flip(-1)).square().mean() + routing_loss(self)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, *callbacks: Callback, model: Model | None = None, **arguments: Any) -> tuple[Model, Trainer]:
    seed_everything(0, verbose=False)
    model = model or Model()
    data = DataLoader(TensorDataset(torch.randn(24, 6, DIM, generator=seeded(0)) + 3.0), batch_size=4)
    trainer = quiet_trainer(max_epochs=2, callbacks=list(callbacks), default_root_dir=folder, **arguments)
    seed_everything(0, verbose=False)
    trainer.fit(model, data)
    return model, trainer


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_trainer_updates_once_a_step_of_the_optimiser(tmp_path: Path, accumulate: int) -> None:
    model, trainer = fit(tmp_path, accumulate_grad_batches=accumulate)
    assert any(isinstance(each, StepUpdates) for each in trainer.callbacks)  # type: ignore[attr-defined]
    steps = trainer.global_step
    assert steps == 12 // accumulate
    assert [int(each.updates) for each in (model.first.router, model.second.router, model.depth.gate)] == [steps] * 3
    assert model.first.router.bias.any()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_routers_stay_float32(tmp_path: Path, precision: Any) -> None:
    model, _ = fit(tmp_path, precision=precision)
    for each in (model.first.router, model.depth.gate):
        assert each.weight.dtype == torch.float32
    assert model.first.router.bias.dtype == torch.float32


def test_monitors_find_routers_by_type(tmp_path: Path) -> None:
    model, shares = Model(), []
    model.depth.gate.register_forward_hook(lambda gate, x, gated: shares.append(float(gated.open.float().mean())))
    _, trainer = fit(tmp_path, ChoiceMonitor(dominated_above=1.0), RouterMonitor(), model=model)
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name in ("first.router", "second.router"):
        for figure in ("load_violation", "live_share", "choice_entropy", "marginal_entropy"):
            assert f"choices/{name}/{figure}" in found
        assert found[f"experts/{name}/load_violation"] == pytest.approx(
            found[f"choices/{name}/load_violation"], abs=1e-5
        )
        assert found[f"experts/{name}/dead_experts"] == pytest.approx(N * (1 - found[f"choices/{name}/live_share"]))
        information = found[f"choices/{name}/marginal_entropy"] - found[f"choices/{name}/choice_entropy"]
        assert found[f"experts/{name}/information"] == pytest.approx(information, abs=1e-6)
    assert found["choices/depth.gate/open_share"] == pytest.approx(sum(shares[6:]) / 6, abs=1e-6)  # of the last epoch


def test_a_monitor_needs_a_router() -> None:
    class Plain(Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.second = nn.Identity()

    with pytest.raises(ValueError, match="RouterMonitor finds no layer that makes choices"):
        RouterMonitor().setup(quiet_trainer(), Plain(), "fit")


def test_weight_averaging_leaves_biases_alone(tmp_path: Path) -> None:
    plain, _ = fit(tmp_path)
    averaged, _ = fit(tmp_path, EMAWeightAveraging(decay=0.5))
    assert torch.equal(plain.first.router.bias, averaged.first.router.bias)
    assert torch.equal(plain.depth.gate.threshold, averaged.depth.gate.threshold)


def test_speeds_and_weights_are_annealed(tmp_path: Path) -> None:
    model, _ = fit(tmp_path, WeightAnnealing(Linear(0.01, 0.0, steps=6), only="*speed"))
    assert model.first.router.speed() == 0
    assert isinstance(model.second.router, Router)
    assert model.second.router.balance is not None
    assert model.second.router.balance() == pytest.approx(0.01)
