"""GradientProbe: right figures where the exact gradient is known, and no effect on the training."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.callbacks import GradientProbe
from discrete_lightning.estimators import (
    DisARM,
    LeaveOneOut,
    ReinMax,
    Sparsemax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.models import BernoulliVAE, CategoricalVAE
from discrete_lightning.nn import GumbelQuantizer, RelaxedCategorical, VectorQuantizer
from discrete_lightning.training.exact_gradient import every_state


def data(count: int = 64, size: int = 16) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, 4, size // 4, generator=generator).round()
    return DataLoader(TensorDataset(images, torch.zeros(count)), batch_size=8, shuffle=True)


def trainer(folder: Path, *callbacks: Any, steps: int = 9) -> Trainer:
    return Trainer(
        max_steps=steps, accelerator="cpu", callbacks=list(callbacks), logger=CSVLogger(folder, name="", version=""),
        log_every_n_steps=1, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0,
    )  # fmt: skip


def fit(loop: Trainer, model: LightningModule) -> None:
    """With validation data only where the module validates: Lightning warns otherwise."""
    loop.fit(model, data(), data() if isinstance(model, CategoricalVAE | BernoulliVAE) else None)


class Everything(LightningModule):
    """What a probe could disturb: dropout, batch norm, an EMA codebook, two sampling layers, shuffled data."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
        self.sampled = GumbelQuantizer(5, 8)
        self.nearest = VectorQuantizer(4, 8)
        self.choice = RelaxedCategorical()
        self.decoder = nn.Linear(8, 16)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        hidden = self.encoder(batch[0])
        nearest = self.nearest(hidden)
        mixed = self.sampled(hidden).quantized * self.choice(hidden) + nearest.quantized
        loss = (self.decoder(mixed) - batch[0].flatten(1)).square().mean() + nearest.loss
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def test_a_run_with_the_probe_equals_one_without(tmp_path: Path) -> None:
    results = []
    for name, callbacks in (("without", []), ("with", [GradientProbe(2, [StraightThrough()], 3, 4, 4)])):
        seed_everything(3, verbose=False)
        model = Everything()
        trainer(tmp_path / name, *callbacks).fit(model, data())
        results.append((copy.deepcopy(model.state_dict()), torch.get_rng_state()))
    (without, state), (with_probe, other_state) = results
    assert torch.equal(state, other_state)
    for key, value in without.items():
        assert torch.equal(value, with_probe[key]), key
    logged = (tmp_path / "with" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"gradient/StraightThrough/bias", "gradient/StraightThroughGumbel/snr"} <= set(logged)


@pytest.mark.parametrize("kind", [CategoricalVAE, BernoulliVAE])
def test_reference_by_enumeration_agrees_with_leave_one_out(kind: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    latents = {"latents": 2, "categories": 3} if kind is CategoricalVAE else {"latents": 3}
    model = kind(**latents, hidden=[8], pixels=16)
    loop = trainer(tmp_path, steps=1)
    fit(loop, model)
    batch = [part[:2] for part in next(iter(data()))]
    figures = {}
    for states in (4096, 0):
        probe = GradientProbe(1, [LeaveOneOut(4)], samples=300, reference_samples=3000, max_states=states)
        probe._batch = batch
        figures[states] = probe.measure(loop, model)
    assert figures[4096]["reference_error"] == 0
    assert 0 < figures[0]["reference_error"] < 0.5
    # an unbiased estimator has no bias against the exact gradient: below 3 standard errors of the mean of 300
    std = figures[4096]["LeaveOneOut/std"]
    assert figures[4096]["LeaveOneOut/bias"] < 3 * std / 300**0.5
    assert figures[4096]["LeaveOneOut/cosine"] > 0.9
    assert figures[4096]["LeaveOneOut/snr"] == pytest.approx(1 / std, rel=1e-4)
    assert figures[0]["StraightThroughGumbel/std"] == pytest.approx(
        figures[4096]["StraightThroughGumbel/std"], rel=0.35
    )


class Quadratic(LightningModule):
    """A quadratic function of one choice of three: straight-through is biased, ReinMax is not."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.5, -1.0, 0.2]))
        self.layer = RelaxedCategorical(ReinMax())
        generator = torch.Generator().manual_seed(1)
        self.matrix = torch.randn(3, 3, generator=generator)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        sample = self.layer(self.logits.expand(len(batch[0]), 3))
        return ((sample @ self.matrix) * sample).sum(-1).mean()

    def enumerate_loss(self, batch: list[Tensor]) -> Any:
        return self.layer, self.logits.expand(len(batch[0]), 3), lambda d: ((d @ self.matrix) * d).sum(-1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_bias_of_estimators_of_known_bias(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, loop = Quadratic(), trainer(tmp_path, steps=1)
    fit(loop, model)
    probe = GradientProbe(1, [StraightThrough()], samples=600)
    probe._batch = next(iter(data()))
    figures = probe.measure(loop, model)
    assert figures["ReinMax/bias"] < 3 * figures["ReinMax/std"] / 600**0.5
    assert figures["StraightThrough/bias"] > 0.2
    assert model.layer.estimator == ReinMax()


def test_every_state() -> None:
    assert every_state((2, 3), binary=False).shape == (9, 2, 3)
    assert len(every_state((2, 2), binary=True).unique(dim=0)) == 16


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (CategoricalVAE(2, 3, hidden=[4], pixels=16), {"alternatives": [DisARM()]}, "binary variables"),
        (Everything(), {"alternatives": [LeaveOneOut()]}, "needs the loss's value"),
        (CategoricalVAE(2, 3, hidden=[4], pixels=16), {"alternatives": [Sparsemax()]}, "different distributions"),
        (CategoricalVAE(2, 3, Sparsemax(), hidden=[4], pixels=16), {"max_states": 2}, "raise max_states"),
    ],
)
def test_alternatives_that_cannot_serve(model: Any, arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fit(trainer(tmp_path, GradientProbe(**arguments)), model)


def test_what_other_callbacks_hooked_into_the_module_sees_nothing_of_the_probe(tmp_path: Path) -> None:
    passes: dict[str, int] = {}

    def counting(name: str) -> Any:
        def hook(*_: Any) -> None:
            passes[name] = passes.get(name, 0) + 1

        return hook

    model = Quadratic()
    model.layer.register_forward_pre_hook(counting("before"))
    model.layer.register_forward_hook(counting("after"))
    model.layer.register_full_backward_hook(counting("backward"))
    trainer(tmp_path, GradientProbe(2, samples=3), steps=4).fit(model, data())
    assert passes == {"before": 4, "after": 4, "backward": 4}


def test_manual_optimisation_is_refused(tmp_path: Path) -> None:
    model = Quadratic()
    model.automatic_optimization = False
    with pytest.raises(ValueError, match="Quadratic uses manual optimisation"):
        trainer(tmp_path, GradientProbe()).fit(model, data())


@pytest.mark.parametrize("arguments", [{"every": 0}, {"samples": 1}, {"reference_samples": 1}, {"batch_size": 0}])
def test_bad_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        GradientProbe(**arguments)


def test_a_module_without_choices_is_refused(tmp_path: Path) -> None:
    model = Everything()
    model.sampled, model.choice = nn.Identity(), nn.Identity()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="no discrete layer in Everything"):
        fit(trainer(tmp_path, GradientProbe()), model)


def test_current_estimator_is_first_and_alternatives_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, loop = Quadratic(), trainer(tmp_path, steps=1)
    fit(loop, model)
    probe = GradientProbe(1, [ReinMax(), StraightThroughGumbel()], samples=3)
    probe._batch = next(iter(data()))
    names = {name.split("/")[0] for name in probe.measure(loop, model)}
    assert names == {"reference_error", "ReinMax", "StraightThroughGumbel"}
