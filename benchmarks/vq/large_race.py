"""65,536 codes: the quantisers of this package against those of vector-quantize-pytorch, in one run.

python -m benchmarks.vq.large_race [--steps 100] [--seeds 0 1 2] [--data fashion] [--only NAMES] [--skip NAMES]

Needs vector-quantize-pytorch (pip install vector-quantize-pytorch==1.32). The autoencoder of `benchmarks.vq.codebooks` on
Fashion-MNIST: batch 32 (1,568 vectors of dimension 64: there are 42 times as many codes), Adam at 3e-3 with a cosine schedule,
the same initial weights and batches for all. Grids have fewer channels, and get a linear layer before and after them. Reported
after training, on 5,000 test images: mean squared error with the nearest codes, the same without quantisation, the share of
codes that are the nearest one of a vector of these images (3.7 vectors a code), and the time of a step. Then mean and standard
deviation over seeds.

Nothing was tuned: each quantiser has its defaults, but theirs with a table k-means start and dead-code threshold 2 as in
`benchmarks.vq.codebooks`, and ours by index back-propagation 1,024 drawn codes. `Gumbel`, a softmax over all codes, takes
several times as long as all others: `--skip Gumbel`.
"""

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._timing import device_name
from benchmarks.vq.codebooks import DIM, Autoencoder, _stack
from discrete_lightning.data import MNIST, FashionMNIST
from discrete_lightning.nn import (
    DifferentiableVectorQuantizer,
    FiniteScalarPerturbation,
    FiniteScalarQuantizer,
    GumbelQuantizer,
    IndexBackpropagationQuantizer,
    LearnedVectorQuantizer,
    LookupFreeQuantizer,
    Quantizer,
    SimVectorQuantizer,
    VectorQuantizer,
)
from discrete_lightning.vq.functional.nearest_code import nearest_code

CODES, BATCH = 1 << 16, 32
LEVELS = [8, 8, 8, 5, 5, 5]  # 64,000 codes, table 1 of the paper on finite scalar quantisation


class Contestant(nn.Module):
    """Either library's quantiser of vectors (N, 64), between linear layers where it has another dimension."""

    def __init__(self, quantizer: nn.Module, dim: int = DIM) -> None:
        super().__init__()
        self.quantizer = quantizer
        same = dim == DIM
        self.before, self.after = (nn.Identity() if same else nn.Linear(*each) for each in ((DIM, dim), (dim, DIM)))
        self.count = math.prod(LEVELS) if type(quantizer).__name__.startswith(("Finite", "FSP")) else CODES

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors = self.before(vectors)
        if isinstance(self.quantizer, Quantizer):
            quantized, indices, loss, _ = self.quantizer(vectors)
            return self.after(quantized), indices, loss
        if not self.training and (table := self.table()) is not None:  # what it does itself, in less time
            indices = nearest_code(vectors, table)
            return table[indices], indices, vectors.new_zeros(())
        quantized, indices, loss, *_ = self.quantizer(vectors.unsqueeze(0))
        return self.after(quantized[0]), indices.reshape(-1), loss.sum()

    def table(self) -> Tensor | None:
        codes: Tensor | None = getattr(self.quantizer, "codebook", None)
        return codes


def theirs(name: str, **arguments: Any) -> Contestant:
    import vector_quantize_pytorch as package

    if name == "FSP":
        from vector_quantize_pytorch.finite_scalar_perturbation import FSP

        return Contestant(FSP(LEVELS, **arguments), len(LEVELS))
    return Contestant(getattr(package, name)(dim=DIM, codebook_size=CODES, **arguments))


def ours(make: Callable[..., Quantizer], **arguments: Any) -> Contestant:
    return Contestant(make(CODES, DIM, **arguments))


MAKERS: dict[str, Callable[[], Contestant]] = {
    "index back-propagation": partial(ours, IndexBackpropagationQuantizer, negatives=1024),
    "EMA": partial(ours, VectorQuantizer),
    "learned": partial(ours, LearnedVectorQuantizer),
    "DiVeQ": partial(ours, DifferentiableVectorQuantizer),
    "SimVQ": partial(ours, SimVectorQuantizer),
    "finite scalar": lambda: Contestant(FiniteScalarQuantizer(LEVELS), len(LEVELS)),
    "FSP": lambda: Contestant(FiniteScalarPerturbation(LEVELS), len(LEVELS)),
    "look-up free": lambda: Contestant(LookupFreeQuantizer(16), 16),
    "theirs, k-means + dead codes": partial(theirs, "VectorQuantize", kmeans_init=True, threshold_ema_dead_code=2),
    "theirs, SimVQ": partial(theirs, "SimVQ"),
    "theirs, DiVeQ": partial(theirs, "VectorQuantize", directional_reparam=True, threshold_ema_dead_code=2),
    "theirs, FSP": partial(theirs, "FSP"),
    "Gumbel": partial(ours, GumbelQuantizer),
}


def images_of(name: str) -> tuple[Tensor, Tensor]:
    data = (FashionMNIST if name == "fashion" else MNIST)(batch_size=BATCH, validation=0)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return _stack(data.dataset("train")), _stack(data.dataset("test"))


def train(make: Callable[[], Contestant], seed: int, images: tuple[Tensor, Tensor], arguments: Any) -> dict[str, float]:
    torch.manual_seed(seed)
    model = Autoencoder(nn.Identity(), 64, False)  # first, so that all start from the same weights
    torch.manual_seed(seed)
    model.quantizer = quantizer = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    order = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    for _ in range(arguments.steps):
        batch = images[0][torch.randint(len(images[0]), (BATCH,), generator=order)]
        output, _, loss = run(model, batch)
        optimizer.zero_grad()
        (loss + (output - batch).square().mean()).backward()
        optimizer.step()
        schedule.step()
    seconds = (time.perf_counter() - start) / arguments.steps
    model.eval()
    live, error, floor = measure(model, images[1][: arguments.images], quantizer.count)
    return {"error": error, "floor": floor, "live": live, "seconds": seconds}


def run(model: Autoencoder, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    vectors = model.encoder(batch)
    quantized, indices, loss = model.quantizer(vectors.reshape(-1, DIM))
    return model.decoder(quantized.view_as(vectors)), indices, loss


@torch.no_grad()
def measure(model: Autoencoder, images: Tensor, codes: int) -> tuple[float, float, float]:
    """The share of codes in use, the error, and that without quantisation."""
    used, error, floor = torch.zeros(codes, dtype=torch.bool), 0.0, 0.0
    for part in images.split(1000):
        output, indices, _ = run(model, part)
        used[indices] = True
        error += float((output - part).square().sum())
        floor += float((model.decoder(model.encoder(part)) - part).square().sum())
    return float(used.float().mean()), error / images.numel(), floor / images.numel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--images", type=int, default=5000, help="of the test")
    parser.add_argument("--data", choices=["fashion", "mnist"], default="fashion")
    parser.add_argument("--only", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--skip", nargs="+", choices=list(MAKERS), default=[])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    names = [name for name in arguments.only if name not in arguments.skip]
    print(
        f"{arguments.data}, {arguments.steps} steps of batch {BATCH}, seeds {arguments.seeds}, {device_name('cpu')}",
        flush=True,
    )
    images = images_of(arguments.data)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in arguments.seeds:
        for name in names:
            runs[name].append(train(MAKERS[name], seed, images, arguments))
            print(line(name, f"seed {seed}", runs[name][-1]), flush=True)
    print()
    for name, each in runs.items():
        means = {key: statistics.mean(run[key] for run in each) for key in each[0]}
        print(line(name, f"{len(each)} seeds", means, spread(each, "error"), spread(each, "live")))


def spread(runs: list[dict[str, float]], key: str) -> float | None:
    return statistics.stdev(each[key] for each in runs) if len(runs) > 1 else None


def line(name: str, which: str, run: dict[str, float], error: float | None = None, live: float | None = None) -> str:
    errors, lives = "" if error is None else f" +- {error:.5f}", "" if live is None else f" +- {live:.1%}"
    return (
        f"{name:<29}{which:<8} error {run['error']:.5f}{errors} (unquantised {run['floor']:.5f})   "
        f"live {run['live']:6.1%}{lives}   {run['seconds']:.2f} s a step"
    )


if __name__ == "__main__":
    main()
