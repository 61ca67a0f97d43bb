"""Manual optimisation of a user's own: a generator that chooses, and a discriminator that steps four times as often."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discrete_lightning.callbacks import ChoiceMonitor, GradientProbe, LearningRateAnnealing, TemperatureAnnealing
from discrete_lightning.nn import RelaxedCategorical
from discrete_lightning.schedules import Linear
from tests.tiny_images import quiet_trainer

BATCHES, SIZE, EPOCHS = 6, 5, 2


class Adversarial(LightningModule):
    """Sequences of 3 letters against those of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.choice = nn.Linear(2, 4), RelaxedCategorical()
        self.discriminator = nn.Linear(4, 1)
        self.temperatures: list[float] = []

    def sample(self, count: int) -> Tensor:
        return self.choice(self.generator(torch.randn(count, 2)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.temperatures.append(self.choice.temperature().item())
        ours, theirs = self.optimizers()  # type: ignore[misc]
        for _ in range(4):
            fake = self.discriminator(self.sample(SIZE).detach())
            loss = nn.functional.softplus(fake).mean() + nn.functional.softplus(-self.discriminator(batch[0])).mean()
            theirs.zero_grad()
            self.manual_backward(loss)
            theirs.step()
        ours.zero_grad()
        loss = nn.functional.softplus(-self.discriminator(self.sample(SIZE))).mean()
        self.manual_backward(loss)
        ours.step()
        self.log("train/loss", loss)

    def configure_optimizers(self) -> Any:
        ours = torch.optim.Adam(self.generator.parameters(), lr=0.01)
        return [ours, torch.optim.Adam(self.discriminator.parameters(), lr=0.01)]

    def train_dataloader(self) -> DataLoader[Any]:
        letters = torch.arange(BATCHES * SIZE) % 4
        return DataLoader(TensorDataset(nn.functional.one_hot(letters, 4).float()), batch_size=SIZE)


def fit(folder: Path, *callbacks: Any, **arguments: Any) -> tuple[Adversarial, Any]:
    seed_everything(0, verbose=False)
    model = Adversarial()
    trainer = quiet_trainer(
        max_epochs=EPOCHS, callbacks=list(callbacks), default_root_dir=folder, log_every_n_steps=1,
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks), **arguments,
    )  # fmt: skip
    trainer.fit(model)
    return model, trainer


@pytest.mark.parametrize(
    ("count", "steps"),
    [
        ("batches", list(range(BATCHES * EPOCHS))),
        ("optimizer_steps", [5 * batch // 2 for batch in range(BATCHES * EPOCHS)]),  # the mean of the two optimisers
        ("epochs", [0] * BATCHES + [1] * BATCHES),
    ],
)
def test_temperatures_by_each_counter(count: Any, steps: list[int], tmp_path: Path) -> None:
    model, trainer = fit(tmp_path, TemperatureAnnealing(Linear(2.0, 1.0, steps=40), count))
    assert trainer.global_step == 5 * BATCHES * EPOCHS
    assert model.temperatures == pytest.approx([2.0 - step / 40 for step in steps])


def test_the_share_of_the_run(tmp_path: Path) -> None:
    anneal = TemperatureAnnealing(Linear(2.0, 1.0, steps=1), "progress")
    model, trainer = fit(tmp_path, anneal, LearningRateAnnealing(Linear(0.1, 0.0, steps=1), optimizer=1))
    total = BATCHES * EPOCHS
    assert model.temperatures == pytest.approx([2.0 - batch / total for batch in range(total)])
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.01
    assert trainer.optimizers[1].param_groups[0]["lr"] == pytest.approx(0.1 / total)


def test_choices_are_those_of_all_five_passes_and_checkpoints_follow_the_loss(tmp_path: Path) -> None:
    counted = []

    class Counted(ChoiceMonitor):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            counted.append(sum(int(use.positions.max()) for use in self._uses.values()))
            super().on_train_epoch_end(trainer, pl_module)

    best = ModelCheckpoint(tmp_path, monitor="train/loss")
    by_choice = ModelCheckpoint(tmp_path, monitor="choices/perplexity", mode="max")
    alone, _ = fit(tmp_path)
    model, _ = fit(tmp_path, Counted(filename=None), best, by_choice)
    assert counted == [5 * BATCHES * SIZE] * EPOCHS
    assert best.best_model_score is not None
    assert by_choice.best_model_score is not None
    for (name, found), expected in zip(model.state_dict().items(), alone.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name


def test_the_probe_refuses_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Adversarial uses manual optimisation"):
        fit(tmp_path, GradientProbe())
