"""A codebook on real digits in plain PyTorch Lightning: your LightningModule, our layer, loss and callback.

python recipes/vq/train.py            about 1 minute on 2 cores; prints the test error, live codes and perplexity
"""

import argparse

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from discrete_lightning.callbacks import TemperatureAnnealing
from discrete_lightning.data import Digits
from discrete_lightning.estimators import StraightThroughGumbel
from discrete_lightning.metrics import CodePerplexity, LiveCodes
from discrete_lightning.nn import GumbelQuantizer
from discrete_lightning.schedules import Exponential


class DigitCodes(LightningModule):
    """Images -> 7 x 7 codes -> images."""

    def __init__(self, num_codes: int = 128, dim: int = 64, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, dim, 3, padding=1),
        )
        self.quantizer = GumbelQuantizer(num_codes, dim, estimator=StraightThroughGumbel())
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, width, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
        )
        self.perplexity, self.live = CodePerplexity(num_codes), LiveCodes(num_codes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, _ = batch
        codes = self.quantizer(self.encoder(images).movedim(1, -1))  # codes live in the last dimension
        error = nn.functional.mse_loss(self.decoder(codes.quantized.movedim(-1, 1)), images)
        self.log("train/error", error, prog_bar=True)
        return error + codes.loss

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, _ = batch
        codes = self.quantizer(self.encoder(images).movedim(1, -1))
        self.perplexity.update(codes.indices)
        self.live.update(codes.indices)
        error = nn.functional.mse_loss(self.decoder(codes.quantized.movedim(-1, 1)), images)
        self.log_dict({"test/error": error, "test/perplexity": self.perplexity, "test/live_codes": self.live})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    seed_everything(1)
    annealing = TemperatureAnnealing(Exponential(start=4.0, rate=2e-3, minimum=1.0))
    trainer = Trainer(max_epochs=arguments.epochs, callbacks=[annealing], logger=False, enable_checkpointing=False)
    model, data = DigitCodes(), Digits(batch_size=64)
    trainer.fit(model, data)
    trainer.test(model, data)
