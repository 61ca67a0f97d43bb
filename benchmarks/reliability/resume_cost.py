"""What ExactResume costs: time a step, and bytes a rank in a checkpoint.

python -m benchmarks.reliability.resume_cost

The CPU time of fits with and without it, interleaved, in pairs: the median of the ratios. The step is that of vq/quickstart's
autoencoder on batches of 64 digits, and, as the worst case, an empty step of Lightning. Exit 1 if the first is above 1 % or a
rank's state above 10 KB.
"""

import argparse
import io
import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from discrete_lightning.callbacks import ExactResume
from discrete_lightning.data import Digits
from discrete_lightning.models import VQAutoencoder
from discrete_lightning.nn import GumbelQuantizer

_BAR, _BYTES = 0.01, 10_000


class Empty(LightningModule):
    """A step of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def _seconds(module: LightningModule, data: Any, steps: int, exact: bool, folder: Path) -> float:
    seed_everything(0, verbose=False)
    keep = ModelCheckpoint(folder / ("with" if exact else "without"), "last")
    callbacks: list[Callback] = [keep, ExactResume()] if exact else [keep]
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=callbacks,
    )
    begin = time.process_time()
    trainer.fit(module, data)
    return time.process_time() - begin


def _compare(name: str, make: Any, data: Any, steps: int, pairs: int, folder: Path) -> float:
    _seconds(make(), data, steps // 4, True, folder)
    ratios, each = [], []
    for number in range(pairs):
        # the difference of a long and a short fit: what a fit costs once, its checkpoint for instance, is no cost of a step
        both = {}
        for exact in ((True, False), (False, True))[number % 2]:
            short, long = (_seconds(make(), data, each_steps, exact, folder) for each_steps in (steps // 4, steps))
            both[exact] = (long - short) / (steps - steps // 4)
        ratios.append(both[True] / both[False] - 1)
        each.append(both[False])
    cost = statistics.median(ratios)
    print(
        f"{name}: {cost:+.2%} of a step of {statistics.median(each) * 1e3:.2f} ms ({min(ratios):+.1%} to {max(ratios):+.1%})"
    )
    return cost


def _bytes(path: Path) -> int:
    checkpoint = torch.load(path, weights_only=True)
    sizes = []
    for kept in (checkpoint, {key: value for key, value in checkpoint.items() if key != "exact_resume"}):
        file = io.BytesIO()
        torch.save(kept, file)
        sizes.append(len(file.getvalue()))
    return sizes[0] - sizes[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    digits = Digits(batch_size=64)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def autoencoder() -> LightningModule:
            return VQAutoencoder(GumbelQuantizer(128, 16))

        cost = _compare("vq, 64 digits", autoencoder, digits, 80, given.pairs, folder / "vq")
        size = _bytes(next((folder / "vq" / "with").glob("*.ckpt")))
        empty: DataLoader[Any] = DataLoader(torch.ones(1000, 1), 1)  # type: ignore[arg-type]
        _compare("an empty step", Empty, empty, 4000, given.pairs, folder / "empty")
    print(f"state of a rank: {size:,} bytes")
    return 0 if cost <= _BAR and size <= _BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
