"""GB1: measured fitness of protein G's domain B1 at four sites (Wu et al. 2016, https://doi.org/10.7554/eLife.16965)."""

from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import PROTEIN
from discrete_lightning.design.oracles.ensemble import Ensemble
from discrete_lightning.design.oracles.sequence_cnn import SequenceCNN
from discrete_lightning.layers.float32 import Float32State

LENGTH: Final = 4


@cache
def _table() -> Tensor:
    with files("discrete_lightning.design.oracles").joinpath("gb1.npz").open("rb") as file:
        values = np.load(file)["log_enrichment"]
    return torch.from_numpy(values.astype(np.float32))


class GB1(Float32State):
    """Log enrichment of the 149,361 measured combinations of sites 39, 40, 41 and 54 (wild type VDGV); NaN where not measured.

    A judge of designs. It is a look-up without gradient: to search it, take GB1Surrogate, which learns from a part.

    Example:
        >>> x = torch.nn.functional.one_hot(PROTEIN.encode("VDGV"), 20).T[None].float()
        >>> round(float(GB1()(x)), 3)
        0.0
    """

    table: Tensor

    letters: Final = PROTEIN.letters  # in the order of the channels

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", _table().clone(), persistent=False)

    def measured(self) -> tuple[Tensor, Tensor]:
        """All measured combinations, int64 (N, 4) in the order of the alphabet of proteins, and their log enrichment (N,)."""
        index = self.table.isfinite().nonzero().flatten()
        places = 20 ** torch.arange(LENGTH - 1, -1, -1, device=index.device)
        return index.unsqueeze(1) // places % 20, self.table[index]

    def forward(self, x: Tensor) -> Tensor:
        """Log enrichment (batch,) of one-hot sequences (batch, 20, 4).

        Raises:
            ValueError: if the shape is another one.
        """
        if x.ndim != 3 or x.shape[1:] != (len(PROTEIN), LENGTH):
            raise ValueError(f"GB1 scores 20 letters at 4 sites (batch, 20, 4), got {tuple(x.shape)}")
        places = 20 ** torch.arange(LENGTH - 1, -1, -1, device=x.device)
        return self.table[(x.argmax(1) * places).sum(1)]


class GB1Surrogate(Ensemble):
    """An ensemble of small CNNs, trained by `prepare` on some of the measured variants of GB1, chosen at random.

    Args:
        training: measured variants to learn from, at most 149,361.
        members: CNNs; each sees the variants resampled with replacement.
        caution: see Ensemble.
        epochs: passes over the variants.
        seed: of the choice, the resampling and the training.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self, training: int = 5000, members: int = 5, caution: float = 1.0, epochs: int = 40, seed: int = 0
    ) -> None:
        if not 10 <= training <= 149_361 or epochs < 1:
            raise ValueError(f"GB1Surrogate needs 10 <= training <= 149361 and epochs >= 1, got {training=}, {epochs=}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            cnns = [SequenceCNN(20, 64, layers=2, width=3, pool="flatten", length=LENGTH) for _ in range(members)]
        super().__init__(cnns, caution)
        self.training_size, self.epochs, self.seed = training, epochs, seed

    def variants(self) -> tuple[Tensor, Tensor]:
        """The variants it learns from, int64 (training, 4), and their log enrichment (training,)."""
        tokens, values = GB1().measured()
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(tokens), generator=generator)[: self.training_size]
        return tokens[chosen], values[chosen]

    def prepare(self) -> None:
        """Trains the members; the same numbers at every call and on every rank."""
        tokens, values = self.variants()
        x = nn.functional.one_hot(tokens, len(PROTEIN)).mT.float()
        # variants that do not fold differ by noise of their own: what matters is where fitness begins
        y = values.clamp_min(_FLOOR)
        center, scale = y.mean(), y.std()
        generator = torch.Generator().manual_seed(self.seed + 1)
        for member in self.members:
            device = next(member.parameters()).device
            cnn = member.cpu().float().requires_grad_().train()
            rows = torch.randint(len(x), (len(x),), generator=generator)
            _train(cnn, x[rows], (y[rows] - center) / scale, self.epochs, generator)
            with torch.no_grad():  # scores in the units of the measurements
                last: nn.Linear = cnn.last  # type: ignore[assignment]
                last.weight.mul_(scale)
                last.bias.mul_(scale).add_(center)
            member.to(device).requires_grad_(False)


_FLOOR: Final = -6.0


def _train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, generator: torch.Generator, batch: int = 128) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    with torch.enable_grad():
        for _ in range(epochs):
            for part in torch.randperm(len(x), generator=generator).split(batch):
                loss = nn.functional.mse_loss(model(x[part]), y[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
