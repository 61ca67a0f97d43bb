"""Mixtures of experts in plain PyTorch Lightning: your LightningModule, our layer, loss, data and callbacks.

pip install 'discrete_lightning[recipes,text]'
python recipes/routing/train.py            prints nats a character on plays that were not trained on
"""

import argparse

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from discrete_lightning.callbacks import LearningRateAnnealing, RouterMonitor
from discrete_lightning.data import Shakespeare
from discrete_lightning.losses import routing_loss
from discrete_lightning.nn import ExpertMLP, MixtureOfExperts
from discrete_lightning.schedules import Cosine


class Block(nn.Module):
    """Attention, then a mixture of experts where a feed-forward would be."""

    def __init__(self, dim: int, heads: int, router: str) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, bias=False, batch_first=True)
        self.mixture = MixtureOfExperts(ExpertMLP(dim, hidden=2 * dim), count=16, k=2, router=router)
        self.attention_norm, self.norm = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        y = self.attention_norm(x)
        x = x + self.attention(y, y, y, attn_mask=bias, need_weights=False)[0]
        return x + self.mixture(self.norm(x))


class PlayModel(LightningModule):
    """Characters of plays to the logits of the next one."""

    def __init__(self, dim: int = 128, heads: int = 4, layers: int = 3, router: str = "noisy_top_k") -> None:
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(len(Shakespeare.vocabulary), dim)
        self.blocks = nn.ModuleList(Block(dim, heads, router) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, len(Shakespeare.vocabulary)))

    def forward(self, tokens: Tensor) -> Tensor:
        x, place = self.embedding(tokens), torch.arange(tokens.shape[1], device=tokens.device)
        distance = place.unsqueeze(1) - place
        slopes = 2.0 ** -torch.arange(1, self.heads + 1, device=tokens.device).view(-1, 1, 1)
        # far tokens count less (ALiBi, Press et al. 2022), later ones not at all
        bias = (-slopes * distance).masked_fill(distance < 0, -torch.inf).repeat(len(tokens), 1, 1)
        for block in self.blocks:
            x = block(x, bias.to(x.dtype))
        return self.head(x)

    def nats(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        return nn.functional.cross_entropy(self(inputs).flatten(0, 1), targets.flatten())

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        nats = self.nats(batch)
        self.log("train/nats_per_character", nats, prog_bar=True)
        # of all mixtures, found by type; 0 for a router that is balanced by its biases
        return nats + routing_loss(self)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("test/nats_per_character", self.nats(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10, help="of 50 steps")
    parser.add_argument("--router", default="noisy_top_k", help="top_k, bias_balanced, paired, remoe ...")
    arguments = parser.parse_args()
    seed_everything(1)
    callbacks = [RouterMonitor(), LearningRateAnnealing(Cosine(3e-3, 0.0, steps=1))]
    trainer = Trainer(
        max_epochs=arguments.epochs,
        limit_train_batches=50,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
    )
    model, data = PlayModel(router=arguments.router), Shakespeare(batch_size=24)
    trainer.fit(model, data)
    trainer.test(model, data)
