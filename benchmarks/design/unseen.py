"""Design problems of six kinds for races of searches: oracles of DNA that GradientSearch(calls=N) was not tuned on.

Its settings were chosen on oracles of five of these kinds with other weights and other motifs (`development(seed)`); what the
races report are those of `reported()`. Of these, GATA2 and TFBind8 are also examples elsewhere in this project. The networks
are trained here, in half a minute each, and kept in a folder if one is given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from discrete_lightning.design.oracles import Ehrlich, MotifScan, SequenceCNN, TFBind8


@dataclass(frozen=True)
class Problem:
    """An oracle of DNA; `target` and `price` define the task of editing: (score - target)^2 + price * edits."""

    name: str
    oracle: nn.Module
    length: int
    target: float
    price: float = 0.1


class RandomConvolution(nn.Module):
    """Dilated residual convolutions with random weights; 0 and 1 are the mean and deviation over random sequences."""

    def __init__(self, seed: int, length: int = 200, channels: int = 32, layers: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def weights(*shape: int) -> nn.Parameter:
            scale = math.sqrt(2 / math.prod(shape[1:]))
            return nn.Parameter(scale * torch.randn(*shape, generator=generator))

        self.first, self.last = weights(channels, 4, 9), weights(channels, length)
        self.blocks = nn.ParameterList([weights(channels, channels, 3) for _ in range(layers)])
        self.mean, self.std = 0.0, 1.0
        with torch.no_grad():
            tokens = torch.randint(4, (1000, length), generator=generator)
            scores = self(nn.functional.one_hot(tokens, 4).mT.float())
        self.mean, self.std = float(scores.mean()), float(scores.std())

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.conv1d(x, self.first, padding=4)
        for i, block in enumerate(self.blocks):
            added = nn.functional.conv1d(nn.functional.gelu(hidden), block, dilation=2**i, padding=2**i)
            hidden = hidden + added
            hidden = hidden / hidden.std((1, 2), keepdim=True)
        score = (nn.functional.gelu(hidden) * self.last).sum((1, 2)) / x.shape[-1]
        return (score - self.mean) / self.std


class Scans(nn.Module):
    """The sum over motifs of the log of the expected number of sites, on both strands."""

    def __init__(self, motifs: list[Tensor]) -> None:
        super().__init__()
        self.motifs = nn.ParameterList([nn.Parameter(motif, requires_grad=False) for motif in motifs])

    def forward(self, x: Tensor) -> Tensor:
        hits = [nn.functional.conv1d(x, torch.stack([motif, motif.flip(0, 1)])) for motif in self.motifs]
        return torch.stack([hit.flatten(1).logsumexp(1) for hit in hits]).sum(0)


class SpliceSites(nn.Module):
    """A dilated residual network that classifies each position: neither, donor or acceptor (Jaganathan et al. 2019).

    The score is the log odds of a donor in the middle plus those of an acceptor 60 positions before: a short exon.
    """

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(4, channels, 11, padding=5), nn.Conv1d(channels, 3, 1)

        def convolution(dilation: int) -> nn.Module:
            return nn.Conv1d(channels, channels, 7, padding=3 * dilation, dilation=dilation)

        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), convolution(d), nn.ReLU(), convolution(d)) for d in (1, 1, 4, 4, 8)
        )

    def classes(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        logits: Tensor = self.last(hidden)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        logits, middle = self.classes(x), x.shape[-1] // 2
        donor, acceptor = logits[:, :, middle], logits[:, :, middle - 60]
        return donor[:, 1] - donor[:, [0, 2]].logsumexp(1) + acceptor[:, 2] - acceptor[:, [0, 1]].logsumexp(1)


def random_motifs(widths: tuple[int, ...], generator: torch.Generator, sharpness: float = 2.0) -> list[Tensor]:
    """Log odds (4, width) of random motifs."""
    logits = [sharpness * torch.randn(4, width, generator=generator) for width in widths]
    return [(4 * (0.95 * logit.softmax(0) + 0.0125)).log() for logit in logits]


def _splice_motifs(seed: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Letter probabilities (4, width) of donor, acceptor and branch point: the human ones, or random ones of a seed."""
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        made = random_motifs((9, 17, 6), generator)
        return made[0].exp() / 4, made[1].exp() / 4, made[2].exp() / 4
    donor = "30,40,20,10 60,10,15,15 8,4,80,8 1,1,97,1 1,1,1,97 50,3,44,3 70,8,12,10 7,5,80,8 16,17,21,46"
    tract, ends = " ".join(["10,32,10,48"] * 12), "25,28,25,22 4,65,1,30 97,1,1,1 1,1,97,1 25,14,49,12"
    branch = "10,50,10,30 10,10,10,70 30,20,10,40 97,1,1,1 10,70,10,10 10,20,10,60"

    def read(text: str) -> Tensor:
        table = torch.tensor([[float(number) for number in column.split(",")] for column in text.split()]).T
        return table / table.sum(0)

    return read(donor), read(f"{tract} {ends}"), read(branch)


def train_splice_sites(seed: int | None, steps: int = 500, length: int = 300) -> SpliceSites:
    """Trained on random sequences with planted sites. An acceptor counts only with its branch point."""
    generator = torch.Generator().manual_seed(0 if seed is None else seed)
    donor, acceptor, branch = _splice_motifs(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    def draw(motif: Tensor) -> Tensor:
        return torch.multinomial(motif.T, 1, generator=generator).flatten()

    torch.manual_seed(0 if seed is None else seed)
    model = SpliceSites()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        tokens = torch.randint(4, (24, length), generator=generator)
        classes = torch.zeros(24, length, dtype=torch.int64)
        for row, labels in zip(tokens, classes, strict=True):
            for _ in range(number(2, 6)):
                place, kind = number(40, length - 20), number(0, 5)
                if kind < 2:
                    row[place - 3 : place + 6], labels[place] = draw(donor), 1
                elif kind < 4:
                    row[place - 16 : place + 1] = draw(acceptor)
                if kind > 2:
                    row[place - 35 : place - 29] = draw(branch)
                if kind == 3:
                    labels[place] = 2
        logits = model.classes(nn.functional.one_hot(tokens, 4).mT.float())
        loss = nn.functional.cross_entropy(logits, classes, weight=torch.tensor([1.0, 3.0, 3.0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


def train_regulatory(seed: int | None, count: int = 2500, epochs: int = 10) -> SequenceCNN:
    """Trained on random sequences with planted sites of three motifs; two of them interact, and the third represses."""
    generator = torch.Generator().manual_seed(0 if seed is None else seed)
    motifs = [MotifScan(name).weight for name in ("GATA2", "FOS::JUN", "GABPA")]
    if seed is not None:
        motifs = random_motifs((9, 8, 11), generator, 2.5)
    tokens = torch.randint(4, (count, 200), generator=generator)
    for row in tokens:
        for motif in motifs:
            for _ in range(int(torch.randint(0, 5, (), generator=generator))):
                site = torch.multinomial((motif.exp() * 0.25).T, 1, generator=generator).flatten()
                site = site if torch.rand((), generator=generator) < 0.5 else (3 - site).flip(0)
                start = int(torch.randint(0, 200 - len(site), (), generator=generator))
                row[start : start + len(site)] = site
    x = nn.functional.one_hot(tokens, 4).mT.float()

    def sites(motif: Tensor) -> Tensor:
        hits = nn.functional.conv1d(x, torch.stack([motif, motif.flip(0, 1)])).flatten(1)
        return torch.sigmoid(2 * (hits - 0.75 * motif.amax(0).sum())).sum(1)

    first, second, third = (sites(motif) for motif in motifs)
    y = first.log1p() + second.log1p() + 0.5 * torch.log1p(first * second) - 0.5 * third.log1p()
    y = (y - y.mean()) / y.std()
    torch.manual_seed(0 if seed is None else seed)
    model = SequenceCNN(channels=48, layers=6, width=15)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * -(-count // 32))
    for _ in range(epochs):
        for part in torch.randperm(count, generator=generator).split(32):
            loss = nn.functional.mse_loss(model(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


def _kept(folder: Path | None, name: str, train: Callable[[], nn.Module]) -> nn.Module:
    """The network, from the folder if it is there."""
    if folder is None:
        return train()
    file = folder / f"{name}.pt"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(train(), file)
    model: nn.Module = torch.load(file, weights_only=False)
    return model


def reported(folder: Path | None = None, only: str = "") -> list[Problem]:
    """The problems that are reported, those with `only` in their name: eight oracles of six kinds."""
    scans = [MotifScan(name).weight for name in ("FOS::JUN", "GABPA", "TBP")]
    splice = partial(_kept, folder, "splice", lambda: train_splice_sites(None))
    regulatory = partial(_kept, folder, "regulatory", lambda: train_regulatory(None))
    oracles: dict[str, tuple[Callable[[], nn.Module], int, float, float]] = {
        "motif scan of GATA2, 200 bp": (lambda: MotifScan("GATA2"), 200, 11.0, 0.1),
        "motif scan of three, 200 bp": (lambda: Scans(scans), 200, 28.0, 0.1),
        "random convolution A, 200 bp": (lambda: RandomConvolution(1), 200, 5.0, 0.1),
        "random convolution B, 200 bp": (lambda: RandomConvolution(2, layers=6), 200, 5.0, 0.1),
        "splice sites, 400 bp": (splice, 400, 0.0, 0.1),
        "regulatory CNN, 500 bp": (regulatory, 500, 2.0, 0.1),
        "Ehrlich, 64 bp, 4 motifs of 4": (lambda: Ehrlich(4, 64, 4, 4, seed=1, epistasis=0.5), 64, 1.0, 0.01),
        "TFBind8": (TFBind8, 8, 0.4, 0.02),
    }
    problems = [
        Problem(name, make(), length, target, price)
        for name, (make, length, target, price) in oracles.items()
        if only in name
    ]
    for problem in problems:
        problem.oracle.eval().requires_grad_(False)
    return problems


def development(seed: int = 100, folder: Path | None = None) -> list[Problem]:
    """The problems on which settings were chosen: other weights, other motifs."""
    generator = torch.Generator().manual_seed(seed)
    splice = _kept(folder, f"splice{seed}", lambda: train_splice_sites(seed))
    regulatory = _kept(folder, f"regulatory{seed}", lambda: train_regulatory(seed))
    problems = [
        Problem("one motif", Scans(random_motifs((10,), generator)), 200, 11.0),
        Problem("three motifs", Scans(random_motifs((8, 9, 14), generator)), 200, 30.0),
        Problem("random convolution", RandomConvolution(seed, length=150, channels=24), 150, 5.0),
        Problem("splice sites", splice, 400, 0.0),
        Problem("regulatory CNN", regulatory, 500, 2.0),
        Problem("Ehrlich", Ehrlich(4, 64, 4, 4, seed=seed, epistasis=0.5), 64, 1.0, 0.01),
    ]
    for problem in problems:
        problem.oracle.eval().requires_grad_(False)
    return problems
