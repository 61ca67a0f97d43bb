"""Runs configs on this rank of two, for a few batches; gives digests of the trained state."""

import hashlib
import os

import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from discrete_lightning.cli import main
from tests.small_mnist import few_batches

_DIGESTS: list[str] = []


class Digest(Callback):
    """Keeps a digest of all parameters and buffers when fitting ends."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert trainer.world_size == 2
        digest = hashlib.sha256()
        for name, value in sorted(pl_module.state_dict().items()):
            if isinstance(value, Tensor):  # a search has more state than tensors
                digest.update(name.encode() + value.float().cpu().numpy().tobytes())
        _DIGESTS.append(f"{type(pl_module).__name__} {digest.hexdigest()}")


def run_all(data: str, runs: str, port: int, configs: list[str]) -> list[str]:
    """The digests, one for each config: as torchrun would start this rank."""
    rank = str(dist.get_rank())
    os.environ |= {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "NODE_RANK": "0", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    _DIGESTS.clear()
    for config in configs:
        options = [
            *few_batches(config, data, f"{runs}/{config.replace('/', '-')}", batches=2),
            "--trainer.accelerator=cpu",
            "--trainer.devices=2",
            "--trainer.strategy=ddp",
            "--trainer.precision=bf16-mixed",
            "--trainer.callbacks+=tests.all_configs.Digest",
            "--trust=tests",
        ]
        if code := main(["fit", "-c", config, *options]):
            raise RuntimeError(f"{config} ended with exit code {code}")
    return list(_DIGESTS)
