"""Small fits of three families with keyed noise, which show what they drew."""

import os
import socket
import warnings
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from discrete_lightning.callbacks import KeyedNoise
from discrete_lightning.estimators import GumbelRao, ReinMax, StraightThrough
from discrete_lightning.models import CategoricalVAE, RoutedNetwork, VQAutoencoder
from discrete_lightning.nn import GumbelQuantizer, LinearGumbelQuantizer, ResidualQuantizer
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.training.feed_forward import MixtureFeedForward
from discrete_lightning.vq.quantizer import Quantizer
from tests.tiny_images import quiet_trainer

EXAMPLES, WHOLE = 24, 8  # of the data, and of a global batch


class Drawn(NamedTuple):
    """A fit: the weights afterwards, and what was drawn in each step, the examples first."""

    weights: dict[str, Tensor]
    draws: list[Tensor]


class NotingVAE(CategoricalVAE):
    """Its samples are noted, whichever way the loss takes them."""

    noted: list[Tensor]

    def negative_log_likelihood(self, sample: Tensor, images: Tensor) -> Tensor:
        if self.training:
            self.noted.append(sample.detach().argmax(-1))
        return super().negative_log_likelihood(sample, images)


class Recorder(Callback):
    """Keeps integers that depend on the noise of each training step."""

    def __init__(self) -> None:
        self.draws: list[Tensor] = []

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if isinstance(pl_module, NotingVAE):
            pl_module.noted = self.draws
            return
        for module in pl_module.modules():
            if isinstance(module, Quantizer | Router):
                module.register_forward_hook(self._note)
                return

    def _note(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module.training:
            self.draws.append(output.indices.detach().flatten(1).clone())


def model(name: str) -> LightningModule:
    seed_everything(3, verbose=False)
    if name == "vq":
        return VQAutoencoder(GumbelQuantizer(num_codes=16, dim=8, revive_below=0.0), hidden=8)
    if name == "residual vq":
        stages = [LinearGumbelQuantizer(8, 8, ReinMax()) for _ in range(2)]
        return VQAutoencoder(ResidualQuantizer(stages, dropout=0.5), hidden=8)
    if name == "vae":
        return NotingVAE(latents=4, categories=3, hidden=[16], estimator=GumbelRao(samples=2))
    router = MixtureFeedForward(count=4, k=1, hidden=8, router=StraightThrough())
    return RoutedNetwork(inputs=6, outputs=3, feed_forward=router, compare=False)


def fit(name: str, ranks: int = 1, start: dict[str, Tensor] | None = None, **options: Any) -> Drawn:
    """Two epochs of three steps, each of `WHOLE` examples on all ranks together.

    Args:
        name: of a model.
        ranks: in the process group.
        start: weights. Codes and scales of a codebook that the first batch's own data set are no matter of noise.
        options: of the trainer.
    """
    built, recorder = model(name), Recorder()
    if start is not None:
        built.load_state_dict(start)
    generator = torch.Generator().manual_seed(0)
    if name == "routing":
        data = [torch.randn(EXAMPLES, 6, generator=generator), torch.arange(EXAMPLES) % 3]
    else:
        data = [torch.rand(EXAMPLES, 1, 28, 28, generator=generator).round(), torch.arange(EXAMPLES)]
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 99)  # keyed noise depends on no generator's state
    rows = TensorDataset(*data)
    sampler = DistributedSampler(rows, ranks, dist.get_rank(), shuffle=False) if ranks > 1 else None
    loader = DataLoader(rows, batch_size=WHOLE // ranks, sampler=sampler)
    trainer = quiet_trainer(
        **{"max_epochs": 2, "callbacks": [KeyedNoise(seed=5), recorder], "use_distributed_sampler": False} | options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's: no validation, no workers
        trainer.fit(built, loader)
    return Drawn({key: each.clone() for key, each in built.state_dict().items()}, recorder.draws)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def fit_on_ranks(port: int, starts: dict[str, dict[str, Tensor]], ranks: int) -> dict[str, Drawn]:
    rank = str(dist.get_rank())
    os.environ |= {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    return {name: fit(name, ranks, start, strategy="ddp", devices=ranks) for name, start in starts.items()}


def together(parts: list[Tensor]) -> Tensor:
    """What the ranks drew, in the order of the global batch."""
    return torch.stack(parts, 1).flatten(0, 1)
