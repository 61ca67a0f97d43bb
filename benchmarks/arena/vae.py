"""Categorical VAEs on MNIST, by the protocol of Liu et al. 2023 (https://arxiv.org/abs/2304.08612): grey pixels, binary
cross-entropy, MLPs of 784, 512 and 256 units, analytic KL to the uniform prior, RAdam, learning rates of its appendix.

The score is the negative ELBO, in nats, of the 10,000 test images with exact discrete draws.
"""

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.arena.problem import Loss, Problem, Task
from discrete_lightning.data import MNIST
from discrete_lightning.estimators import Estimator
from discrete_lightning.models import CategoricalVAE

# (categories, latents): learning rate
SIZES = {(4, 24): 5e-4, (8, 16): 7e-4, (16, 12): 7e-4, (64, 8): 5e-4, (10, 30): 5e-4}
EPOCH = 600  # steps of batches of 100


@cache
def images() -> tuple[Tensor, Tensor]:
    """Training and test images in [0, 1], (N, 1, 28, 28)."""
    data = MNIST(batch_size=1000, validation=0)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    loaders = data.train_dataloader(), data.test_dataloader()
    parts = ([batch[0] for batch in cast(DataLoader[Any], loader)] for loader in loaders)
    train, test = (torch.cat(part).float() for part in parts)
    return train, test


class VAE(Problem):
    """A VAE of `latents` variables of `categories` categories each."""

    def __init__(self, categories: int, latents: int, rate: float, seed: int) -> None:
        super().__init__()
        self.queue = torch.empty(0, dtype=torch.int64)  # of images, in the order of this epoch
        torch.manual_seed(seed)
        self.model = CategoricalVAE(latents, categories, learning_rate=rate, optimizer="RAdam", bound_samples=1)

    def choices(self, examples: int, generator: torch.Generator) -> tuple[Tensor, Loss, Tensor]:
        train, _ = images()
        while len(self.queue) < examples:  # epochs in a new order each
            self.queue = torch.cat([self.queue, torch.randperm(len(train), generator=generator)])
        rows, self.queue = self.queue.split([examples, len(self.queue) - examples])
        x = train[rows]
        logits = self.model.logits(x)
        return logits, lambda z: self.model.negative_log_likelihood(z, x), self.model.kl(logits).mean()

    @torch.no_grad()
    def score(self) -> float:
        generator, _ = torch.Generator().manual_seed(0), self.eval()
        total, (_, test) = 0.0, images()
        for x in test.split(1000):
            logits = self.model.logits(x)
            nll = self.model.negative_log_likelihood(self.model.draw(logits, generator), x)
            total += float((nll + self.model.kl(logits)).sum())
        return total / len(test)

    def use(self, estimator: Estimator) -> None:
        self.model.latent.set_estimator(estimator)

    def optimizer(self) -> torch.optim.Optimizer:
        return self.model.configure_optimizers()


def _task(categories: int, latents: int, rate: float) -> Task:
    return Task(
        make=lambda seed: VAE(categories, latents, rate, seed),
        tuning=lambda seed: VAE(8, 8, 7e-4, seed),
        steps=2 * EPOCH,
        rows=100,
        seeds=3,
        unit="-ELBO, nats",
        digits=1,
    )


TASKS = {f"VAE {size[0]}x{size[1]}": _task(*size, rate) for size, rate in SIZES.items()}
