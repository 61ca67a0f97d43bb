"""A choice anywhere in a network of your own, in plain PyTorch Lightning: your LightningModule, our OneOf.

python recipes/nas/train.py            about 1 minute on 2 cores; prints what was chosen and its test accuracy

Weights and choices learn on the same batches here, as in SNAS. Only the drawn layer runs, in time and memory.
"""

import argparse

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from discrete_lightning.callbacks import TemperatureAnnealing
from discrete_lightning.data import Digits
from discrete_lightning.estimators import ReinMax
from discrete_lightning.nas import (
    architecture_choices,
    architecture_parameters,
    derive,
    expected_loss,
)
from discrete_lightning.nas import weight_parameters as weights_of
from discrete_lightning.nn import OneOf, Temperature
from discrete_lightning.schedules import Linear


class WhichLayers(LightningModule):
    """Which kernel, which activation and which pooling?"""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        options = {"estimator": ReinMax(), "temperature": Temperature(1.0)}
        self.network: nn.Module = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.ReLU(),
            OneOf([nn.Conv2d(width, width, k, padding=k // 2) for k in (1, 3, 5)], **options),  # type: ignore[arg-type]
            nn.BatchNorm2d(width, track_running_stats=False),  # running statistics would mix the options
            OneOf([nn.ReLU(), nn.Tanh(), nn.SiLU()], **options),  # type: ignore[arg-type]
            OneOf([nn.AvgPool2d(2), nn.MaxPool2d(2)], **options),  # type: ignore[arg-type]
            nn.Flatten(),
            nn.Linear(width * 49, 10),
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        # one draw for the step, by any estimator; `self.network(images)` alone would do for those of one sample
        loss = expected_loss(self.network, lambda: nn.functional.cross_entropy(self.network(images), labels))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        self.log("test/accuracy", (self.network(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        choices = {"params": architecture_parameters(self.network), "lr": 1e-2}
        return torch.optim.Adam([{"params": weights_of(self.network), "lr": 2e-3}, choices])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    seed_everything(1)
    annealing = TemperatureAnnealing(Linear(1.0, 0.5, steps=600))
    trainer = Trainer(max_epochs=arguments.epochs, callbacks=[annealing], logger=False, enable_checkpointing=False)
    model, data = WhichLayers(), Digits(batch_size=64)
    trainer.fit(model, data)
    trainer.test(model, data)
    for choice in architecture_choices(model):
        print(choice.decided()[0], "of", ", ".join(choice.options), torch.softmax(choice.logits, -1).tolist()[0])
    model.network = derive(model.network)  # plain modules with their weights
    trainer.test(model, data)  # the same accuracy
