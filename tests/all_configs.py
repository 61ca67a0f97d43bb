"""Runs every config on this rank of two, for a few batches; prints a digest of the trained state.

python -m tests.all_configs DATA RUNS (started by tests/test_configs.py)
"""

import hashlib
import sys
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from discrete_lightning.cli import main
from tests.small_mnist import CONFIGS, few_batches


class Digest(Callback):
    """Prints a digest of all parameters and buffers when fitting ends."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert trainer.world_size == 2
        digest = hashlib.sha256()
        for name, value in sorted(pl_module.state_dict().items()):
            if isinstance(value, Tensor):  # a search has more state than tensors
                digest.update(name.encode() + value.float().cpu().numpy().tobytes())
        print(f"\ndigest {type(pl_module).__name__} {digest.hexdigest()}", flush=True)


if __name__ == "__main__":
    data, runs = Path(sys.argv[1]), Path(sys.argv[2])
    for config in CONFIGS:
        options = [
            *few_batches(config, data, runs / config.replace("/", "-")),
            "--trainer.accelerator=cpu",
            "--trainer.devices=2",
            "--trainer.strategy=ddp",
            "--trainer.precision=bf16-mixed",
            "--trainer.callbacks+=tests.all_configs.Digest",
            "--trust=tests",
        ]
        code = main(["fit", "-c", config, *options])
        if code:
            sys.exit(code)
