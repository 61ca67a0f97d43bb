"""GB1: measured fitness of variants of protein G, domain B1, at four sites (Wu et al. 2016, https://doi.org/10.7554/eLife.16965)."""

import io
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import PROTEIN
from discrete_lightning.design.oracles.ensemble import Ensemble
from discrete_lightning.design.oracles.sequence_cnn import SequenceCNN
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.constant_buffers import ConstantBuffers
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.storage.shipped import shipped_bytes

LENGTH: Final = 4


@cache
def _table() -> Tensor:
    values = np.load(io.BytesIO(shipped_bytes("design/oracles/gb1.npz")), allow_pickle=False)["log_enrichment"]
    return torch.from_numpy(values.astype(np.float32))


class GB1(Recorded, ConstantBuffers):
    """Log enrichment of the 149,361 measured combinations of sites 39, 40, 41 and 54 (wild type VDGV); NaN where not measured.

    Use it as a judge of designs. It is a table without gradient; for a search use GB1Surrogate, which is trained on a part of
    it.

    Example:
        >>> x = torch.nn.functional.one_hot(PROTEIN.encode("VDGV"), 20).T[None].float()
        >>> round(float(GB1()(x)), 3)
        0.0
    """

    table: Tensor

    channel_letters: Final = PROTEIN.letters

    def __init__(self) -> None:
        super().__init__()
        self.register_constant("table", _table().clone())

    def measured(self) -> tuple[Tensor, Tensor]:
        """All measured combinations, int64 (N, 4) indices of letters of proteins, and their log enrichment (N,)."""
        index = self.table.isfinite().nonzero().flatten()
        places = 20 ** torch.arange(LENGTH - 1, -1, -1, device=index.device)
        return index.unsqueeze(1) // places % 20, self.table[index]

    def forward(self, x: Tensor) -> Tensor:
        """Log enrichment (batch,) of one-hot sequences (batch, 20, 4).

        Raises:
            ValueError: the shape is not (batch, 20, 4).
        """
        if x.ndim != 3 or x.shape[1:] != (len(PROTEIN), LENGTH):
            raise ValueError(f"GB1 scores 20 letters at 4 sites (batch, 20, 4), got {tuple(x.shape)}")
        places = 20 ** torch.arange(LENGTH - 1, -1, -1, device=x.device)
        return self.table[(x.argmax(1) * places).sum(1)]


class GB1Surrogate(Ensemble):
    """An ensemble of small CNNs. `prepare_oracle` trains it on measured variants of GB1 that are chosen at random.

    Args:
        training: the number of measured variants to train on, at most 149,361.
        members: the number of CNNs; each is trained on a resample of the variants with replacement.
        pessimism: see Ensemble.
        epochs: passes over the variants.
        seed: of the choice of variants, the resampling and the training.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self, training: int = 5000, members: int = 5, pessimism: float = 1.0, epochs: int = 40, seed: int = 0
    ) -> None:
        check_at_least(10, training=training)
        check_at_least(1, epochs=epochs, members=members)
        if training > 149_361:
            raise ValueError(f"training must be at most 149361, the number of measured variants, got {training}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            cnns = [SequenceCNN(20, 64, layers=2, width=3, pool="flatten", length=LENGTH) for _ in range(members)]
        super().__init__(cnns, pessimism)
        self.training_size, self.epochs, self.seed = training, epochs, seed

    def variants(self) -> tuple[Tensor, Tensor]:
        """The variants used for training, int64 (training, 4), and their log enrichment (training,)."""
        tokens, values = GB1().measured()
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(tokens), generator=generator)[: self.training_size]
        return tokens[chosen], values[chosen]

    def prepare_oracle(self) -> None:
        """Trains the members. The result is the same at every call and on every rank."""
        tokens, values = self.variants()
        x = nn.functional.one_hot(tokens, len(PROTEIN)).mT.float()
        # values far below the floor are of variants that do not fold; their differences are noise
        y = values.clamp_min(_FLOOR)
        center, scale = y.mean(), y.std()
        generator = torch.Generator().manual_seed(self.seed + 1)
        for member in self.members:
            device = next(member.parameters()).device
            cnn = member.cpu().float().requires_grad_().train()
            rows = torch.randint(len(x), (len(x),), generator=generator)
            _train(cnn, x[rows], (y[rows] - center) / scale, self.epochs, generator)
            with torch.no_grad():  # so that scores are in the units of the measurements
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
