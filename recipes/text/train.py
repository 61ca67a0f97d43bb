"""Training through sampled words in plain PyTorch Lightning: your LightningModule, our network, draws and losses.

pip install 'discrete_lightning[recipes,text]'
python recipes/text/train.py            a language model of Shakespeare learns to alliterate; prints lines before and after
"""

import argparse
import copy
from itertools import pairwise
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor

from discrete_lightning.data import Shakespeare
from discrete_lightning.losses import kl_to_reference, policy_gradient
from discrete_lightning.models import LanguageModel
from discrete_lightning.nn import GRUNetwork
from discrete_lightning.text import sample_sequences, sequence_logits


class Alliterator(LightningModule):
    """Lines whose words begin with one letter: any function of a text can be the reward."""

    def __init__(self, network: GRUNetwork, data: Shakespeare, samples: int = 64, kl_weight: float = 0.05) -> None:
        super().__init__()
        self.network, self.tokenizer, self.samples, self.kl_weight = network, data.tokenizer, samples, kl_weight
        self.reference = copy.deepcopy(network).eval().requires_grad_(False)
        self.line_end = 10  # the byte of a line end is its token

    def draw(self) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        prompt = torch.full((self.samples, 1), self.line_end, device=self.device)
        drawn = sample_sequences(self.network, prompt, length=16, end=self.line_end)
        rows = zip(drawn.tokens.tolist(), drawn.mask.sum(1).tolist(), strict=True)
        return prompt, drawn.tokens, drawn.mask, [self.tokenizer.decode(row[:length]).strip() for row, length in rows]

    @staticmethod
    def reward(line: str) -> float:
        """Share of neighbouring words that begin with one letter."""
        words = line.lower().split()
        return sum(a[0] == b[0] and a != b for a, b in pairwise(words)) / max(4, len(words) - 1)

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        prompt, tokens, mask, lines = self.draw()
        rewards = torch.tensor([self.reward(line) for line in lines], device=self.device)
        log_p = sequence_logits(self.network, prompt, tokens).log_softmax(-1)
        with torch.no_grad():
            log_q = sequence_logits(self.reference, prompt, tokens).log_softmax(-1)
        chosen = tokens.unsqueeze(-1)
        mine, theirs = ((each.gather(-1, chosen)[..., 0] * mask).sum(1) for each in (log_p, log_q))
        brake = kl_to_reference(mine, theirs, "k1").detach()  # k1 is subtracted from the reward, never differentiated
        self.log_dict({"reward": rewards.mean(), "kl": brake.mean()}, prog_bar=True)
        return policy_gradient(rewards - self.kl_weight * brake, mine)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), 1e-3)

    def train_dataloader(self) -> list[int]:
        return [0] * 10_000  # there is nothing to load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language_steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    seed_everything(1, verbose=False)
    data = Shakespeare(32, 32, speech=True, tokenizer="words", vocabulary=2048, streams=True)
    network = GRUNetwork(2048)
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "gradient_clip_val": 1.0,
    }
    Trainer(max_steps=options.language_steps, limit_val_batches=0, **quiet).fit(LanguageModel(network), data)
    model = Alliterator(network, data)
    for name in ("before", "after"):
        if name == "after":
            Trainer(max_steps=options.steps, **quiet).fit(model)
        with torch.no_grad():
            lines = [line for _ in range(4) for line in model.draw()[3]]
        shown = [line.encode("utf-8", "replace").decode() for line in lines[:4]]  # bytes may be no character
        print(f"{name}: reward {sum(map(model.reward, lines)) / len(lines):.3f}", *shown, sep="\n  ")


if __name__ == "__main__":
    main()
