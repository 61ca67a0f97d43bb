"""Quantisers with no flag set: error and live codes of each, quantiser x encoder x codes x steps.

python -m benchmarks.vq.defaults [--steps 300 1500] [--codes 256 1024] [--encoders small deep vector] [--seeds 0 1 2]

Fashion-MNIST, batch 64, Adam at 1e-3, loss = mean squared error + the quantiser's own; the same initial weights and batches
for all. Encoders: `small` (4 x 4 patches, 49 vectors an image), `deep` (that of VQAutoencoder, 49 vectors) and `vector` (a
perceptron of two layers, 16 vectors an image with no grid), all of 32 dimensions. Reported on the 10,000 test images: mean
squared error, the share of codes chosen at least once, and the error over that of `VectorQuantizer` (EMA): the ratio of means,
and the lowest and highest with the same seed. Needs vector-quantize-pytorch==1.32 for the peer; it is left out where that is
not installed.

`--rates 1e-4 1e-3 1e-2` runs other learning rates, `--weights 1 10 100` other weights of the squared error beside the
quantiser's loss (10 is about that of an error divided by the variance of the images), `--commitment 0.25` another weight of
commitment in our quantisers. `--annealed` adds GumbelQuantizer with tau from 4 to 1. `--bonus` prints instead what the picture
of recipes/vq shows: error and live codes against the weight of the marginal bonus, for linear and for distance logits, and
writes it to a file.

Bars: GumbelQuantizer at most 1.02 and LearnedVectorQuantizer at most 1.03 times the EMA's error, both with 95 % live codes or
more in every cell, and below vector-quantize-pytorch's best setting on average.
"""

import argparse
import importlib.util
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.vq.codebooks import Images, _ChannelsFirst, _ChannelsLast
from discrete_lightning.nn import GumbelQuantizer, LearnedVectorQuantizer, LinearGumbelQuantizer, VectorQuantizer
from discrete_lightning.schedules import Exponential
from discrete_lightning.vq.training.convolutional import ConvolutionalDecoder, ConvolutionalEncoder

DIM, HIDDEN, BATCH, VECTORS = 32, 32, 64, 16
Maker = Callable[[int], nn.Module]


def theirs(**flags: Any) -> Maker:
    def make(codes: int) -> nn.Module:
        from vector_quantize_pytorch import VectorQuantize

        return VectorQuantize(dim=DIM, codebook_size=codes, **flags)

    return make


MAKERS: dict[str, Maker] = {
    "VectorQuantizer (EMA)": lambda codes: VectorQuantizer(codes, DIM),
    "GumbelQuantizer": lambda codes: GumbelQuantizer(codes, DIM),
    "LearnedVectorQuantizer": lambda codes: LearnedVectorQuantizer(codes, DIM),
    "theirs, k-means": theirs(kmeans_init=True, threshold_ema_dead_code=2),
    "theirs": theirs(),
}


def committed(weight: float) -> dict[str, Maker]:
    """Our quantisers with another weight of commitment."""
    return {
        "VectorQuantizer (EMA)": lambda codes: VectorQuantizer(codes, DIM, commitment=weight),
        "GumbelQuantizer": lambda codes: GumbelQuantizer(codes, DIM, commitment=weight),
        "LearnedVectorQuantizer": lambda codes: LearnedVectorQuantizer(codes, DIM, commitment=weight),
    }


ANNEALED = "GumbelQuantizer, annealed"
REFERENCE = "VectorQuantizer (EMA)"


class _Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (VECTORS, DIM))


def autoencoder(kind: str) -> tuple[nn.Module, nn.Module]:
    """An encoder, images (B, 1, 28, 28) to vectors (B, ..., 32), and its decoder."""
    if kind == "deep":
        return ConvolutionalEncoder(1, HIDDEN, DIM), ConvolutionalDecoder(1, HIDDEN, DIM)
    if kind == "small":
        return (
            _ChannelsLast(
                nn.Conv2d(1, HIDDEN, 4, stride=4), nn.ReLU(),
                nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1), nn.ReLU(), nn.Conv2d(HIDDEN, DIM, 1),
            ),
            _ChannelsFirst(
                nn.Conv2d(DIM, HIDDEN, 3, padding=1), nn.ReLU(),
                nn.Conv2d(HIDDEN, HIDDEN, 1), nn.ReLU(), nn.ConvTranspose2d(HIDDEN, 1, 4, stride=4),
            ),
        )  # fmt: skip
    wide = VECTORS * DIM
    return (
        nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, wide), _Cut()),
        nn.Sequential(nn.Flatten(), nn.Linear(wide, 256), nn.ReLU(), nn.Linear(256, 784), nn.Unflatten(1, (1, 28, 28))),
    )


def quantize(quantizer: nn.Module, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of either library: vectors (..., D) -> quantized, indices, loss."""
    flat = vectors.reshape(-1, DIM)
    if type(quantizer).__module__.startswith("discrete_lightning"):
        result = quantizer(flat)
        return result.quantized.view_as(vectors), result.indices, result.loss
    quantized, indices, loss = quantizer(flat.unsqueeze(0))
    return quantized.view_as(vectors), indices, loss.sum()


def train(
    make: Maker, kind: str, codes: int, steps: int, seed: int, data: Images, rate: float, annealed: bool = False,
    weight: float = 1.0,
) -> dict[str, float]:  # fmt: skip
    """Error on the test images, share of live codes, seconds."""
    torch.manual_seed(seed)
    encoder, decoder = autoencoder(kind)
    torch.manual_seed(seed)
    quantizer = make(codes)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), *quantizer.parameters()], rate)
    schedule = Exponential(4.0, rate=1.39 / steps, minimum=1.0)
    order, start = torch.Generator().manual_seed(seed), time.perf_counter()
    for step in range(steps):
        if annealed:
            assert isinstance(quantizer, GumbelQuantizer)
            quantizer.sample.temperature.set(schedule(step))
        batch = data.train_images[torch.randint(len(data.train_images), (BATCH,), generator=order)]
        quantized, _, loss = quantize(quantizer, encoder(batch))
        loss = loss + weight * (decoder(quantized) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    for each in (encoder, decoder, quantizer):
        each.eval()
    errors, used = [], torch.zeros(codes, dtype=torch.bool)
    with torch.no_grad():
        for images in data.test_images.split(500):
            quantized, indices, _ = quantize(quantizer, encoder(images))
            errors.append(float((decoder(quantized) - images).square().mean()))
            used[indices.flatten()] = True
    return {"error": statistics.mean(errors), "live": float(used.float().mean()), "seconds": seconds}


def summary(name: str, runs: Sequence[dict[str, float]], reference: Sequence[dict[str, float]]) -> str:
    """One line: errors, live codes, and the ratio to the reference, over seeds."""
    errors = [run["error"] for run in runs]
    ratios = [run["error"] / other["error"] for run, other in zip(runs, reference, strict=True)]
    mean, of_reference = statistics.mean(errors), statistics.mean(run["error"] for run in reference)
    live, seconds = (statistics.mean(run[key] for run in runs) for key in ("live", "seconds"))
    return (
        f"{name:<26} error {mean:.5f} ({', '.join(f'{each:.5f}' for each in errors)})   live {live:6.1%}   "
        f"/ EMA {mean / of_reference:.3f} ({min(ratios):.3f} to {max(ratios):.3f})   {seconds:.0f} s"
    )


def table(arguments: argparse.Namespace, data: Images) -> None:
    has_peer = importlib.util.find_spec("vector_quantize_pytorch") is not None
    names = [each for each in arguments.only if has_peer or not each.startswith("theirs")]
    makers = dict(MAKERS) if arguments.commitment is None else MAKERS | committed(arguments.commitment)
    makers[ANNEALED] = makers["GumbelQuantizer"]
    names += [ANNEALED] if arguments.annealed else []
    cells: dict[str, list[float]] = {name: [] for name in names}
    for weight, rate, steps, kind, codes in itertools.product(
        arguments.weights, arguments.rates, arguments.steps, arguments.encoders, arguments.codes
    ):
        print(
            f"\n{kind} encoder, {codes} codes, {steps} steps, Adam at {rate:g}, error x {weight:g}, seeds {arguments.seeds}",
            flush=True,
        )
        runs: dict[str, list[dict[str, float]]] = {}
        for name in names:
            runs[name] = [
                train(makers[name], kind, codes, steps, seed, data, rate, name == ANNEALED, weight)
                for seed in arguments.seeds
            ]
            print(summary(name, runs[name], runs[REFERENCE]), flush=True)
            reference = statistics.mean(run["error"] for run in runs[REFERENCE])
            cells[name].append(statistics.mean(run["error"] for run in runs[name]) / reference)
    print("\nmean over cells of error / EMA's: " + ", ".join(f"{k} {statistics.mean(v):.3f}" for k, v in cells.items()))


def bonuses(arguments: argparse.Namespace, data: Images) -> None:
    """Error and live codes against the weight of the marginal bonus."""
    weights = arguments.bonuses
    forms: dict[str, Callable[..., nn.Module]] = {"linear": LinearGumbelQuantizer, "distances": GumbelQuantizer}
    found: dict[str, list[tuple[float, float]]] = {}
    for name, form in forms.items():
        found[name] = []
        for weight in weights:
            runs = [
                train(lambda codes: form(codes, DIM, marginal_entropy=weight), "small", 256, arguments.steps[0], seed, data, 1e-3)  # noqa: B023, E501
                for seed in arguments.seeds
            ]  # fmt: skip
            found[name].append((statistics.mean(r["error"] for r in runs), statistics.mean(r["live"] for r in runs)))
            print(
                f"{name:<10} bonus {weight:<7g} error {found[name][-1][0]:.5f}   live {found[name][-1][1]:6.1%}",
                flush=True,
            )
    _draw(weights, found, arguments.picture)


def _draw(weights: Sequence[float], found: dict[str, list[tuple[float, float]]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, values in found.items():
        label = f"logits from {'distances (default)' if name == 'distances' else 'a linear layer'}"
        left.plot(range(len(weights)), [error for error, _ in values], "o-", label=label)
        right.plot(range(len(weights)), [100 * live for _, live in values], "o-", label=label)
    for axes, label in ((left, "test error (MSE a pixel)"), (right, "live codes of 256 (%)")):
        axes.set_xticks(range(len(weights)), [f"{each:g}" for each in weights])
        axes.set_xlabel("weight of the marginal bonus")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 1500])
    parser.add_argument("--codes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument(
        "--encoders", nargs="+", choices=["small", "deep", "vector"], default=["small", "deep", "vector"]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--weights", type=float, nargs="+", default=[1.0])
    parser.add_argument("--commitment", type=float, default=None)
    parser.add_argument("--only", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--annealed", action="store_true")
    parser.add_argument("--bonus", action="store_true")
    parser.add_argument("--bonuses", type=float, nargs="+", default=[0.0, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2])
    parser.add_argument("--picture", default="bonus.png")
    arguments = parser.parse_args()
    if REFERENCE not in arguments.only:
        parser.error(f"--only needs {REFERENCE!r}, which the others are compared with")
    warnings.filterwarnings("ignore")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    data = Images()
    (bonuses if arguments.bonus else table)(arguments, data)


if __name__ == "__main__":
    main()
