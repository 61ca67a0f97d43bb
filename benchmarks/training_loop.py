"""The recipe's training step under Lightning against a hand-written loop of the same model, data and optimiser, in one run.

python -m benchmarks.training_loop

Bar: a step of the recipe (callbacks, logging to CSV, annealing) takes at most 1.15 times that of the loop. The two take
turns, epoch by epoch of the quickstart's model on the embedded digits.
"""

import argparse
import logging
import math
import statistics
import tempfile
import time
import warnings

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from benchmarks._timing import device_name
from discrete_lightning.callbacks import CodebookMonitor, TemperatureAnnealing
from discrete_lightning.data import Digits
from discrete_lightning.estimators import StraightThroughGumbel
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import GumbelQuantizer, Temperature
from discrete_lightning.schedules import Exponential


def quickstart_model() -> VQAutoencoder:
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(num_codes=128, dim=64)
    return VQAutoencoder(quantizer, StraightThroughGumbel(), marginal_entropy=1e-3, hidden=32)


class LoopEpoch(Callback):
    """Runs one epoch of the hand-written loop after each epoch of the recipe, and times both."""

    def __init__(self, data: Digits) -> None:
        self.model = quickstart_model()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-3)
        self.loader = data.train_dataloader()
        self.steps = 0
        self.seconds: dict[str, list[float]] = {"recipe": [], "loop": []}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds["recipe"].append(time.perf_counter() - self.start)
        start = time.perf_counter()
        self.run()
        self.seconds["loop"].append(time.perf_counter() - start)

    def run(self) -> None:
        temperatures = [module for module in self.model.modules() if isinstance(module, Temperature)]
        for images, _ in self.loader:
            for temperature in temperatures:
                temperature.set(max(0.3, math.exp(-2e-3 * self.steps)))
            loss = self.model.loss(self.model(images), images)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.steps += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")

    data = Digits(batch_size=64)
    loop = LoopEpoch(data)
    annealing = TemperatureAnnealing(Exponential(start=1.0, rate=2e-3, minimum=0.3))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=arguments.epochs,
            accelerator="cpu",
            callbacks=[loop, annealing, CodebookMonitor(filename=None)],
            logger=CSVLogger(folder),
            log_every_n_steps=10,
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.fit(quickstart_model(), data)
    steps = len(loop.loader)
    ratios = [a / b for a, b in zip(loop.seconds["recipe"], loop.seconds["loop"], strict=True)][1:]
    medians = {name: statistics.median(values[1:]) / steps * 1e3 for name, values in loop.seconds.items()}
    print(f"quickstart model, batch 64, {steps} steps an epoch, {len(ratios)} epochs each, {device_name('cpu')}")
    print(f"recipe {medians['recipe']:.1f} ms a step, hand-written loop {medians['loop']:.1f} ms a step")
    print(f"ratio {statistics.median(ratios):.3f} (median over epochs; range {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
