"""VectorQuantizer against two settings of vector-quantize-pytorch: error, live codes, time and memory, in one run.

python -m benchmarks.vq.codebooks [--steps 600] [--codes 256 1024 8192] [--seeds 0 1 2] [--deep] [--device cuda]

Needs vector-quantize-pytorch (pip install vector-quantize-pytorch==1.32), once with its defaults and once with k-means start
and dead-code threshold 2 ("theirs, k-means"). Fashion-MNIST, batch 128 (6,272 vectors of dimension 64), Adam with a cosine
schedule; the same initial weights and batches for all. The autoencoder is small (4 x 4 patches, two convolutions each way), so
that a few hundred steps train it and the codes are what limits it; with `--deep` it is that of `VQAutoencoder`, whose error
after so few steps is mostly its own, whatever the codes. Reported on the 10,000 test images: mean squared error, the same
without quantisation, and the share of codes chosen at least once: a line for each seed, and for several seeds the mean, the
standard deviation over seeds, and the error over that of ours with the same seed. Bars: error no higher at 256 codes and at
least 5 % lower at 1,024 and 8,192; live codes at least 95 %, 95 % and 80 %.

Then the quantiser alone, forward + backward on 6,272 vectors, in turns: no slower at 256 codes, at least 1.3 times as
fast at 8,192, and peak memory (a process each) no higher.
"""

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._memory import peak_of
from benchmarks._timing import device_name, interleaved, milliseconds, ratio
from discrete_lightning.data import FashionMNIST
from discrete_lightning.nn import VectorQuantizer
from discrete_lightning.vq.training.convolutional import ConvolutionalDecoder, ConvolutionalEncoder

DIM, BATCH, VECTORS = 64, 128, 6272


def ours(num_codes: int) -> nn.Module:
    return VectorQuantizer(num_codes, DIM)


def theirs(num_codes: int, **flags: Any) -> nn.Module:
    from vector_quantize_pytorch import VectorQuantize

    return VectorQuantize(dim=DIM, codebook_size=num_codes, **flags)


MAKERS: dict[str, Callable[[int], nn.Module]] = {
    "ours": ours,
    "theirs": theirs,
    "theirs, k-means": partial(theirs, kmeans_init=True, threshold_ema_dead_code=2),
}


def quantize(quantizer: nn.Module, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of either library: vectors (N, D) -> quantized, indices, loss."""
    if isinstance(quantizer, VectorQuantizer):
        result = quantizer(vectors)
        return result.quantized, result.indices, result.loss
    quantized, indices, loss = quantizer(vectors.unsqueeze(0))
    return quantized[0], indices[0], loss.sum()


class _ChannelsLast(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).movedim(1, -1)


class _ChannelsFirst(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(-1, 1))


class Autoencoder(nn.Module):
    encoder: nn.Module
    decoder: nn.Module

    def __init__(self, quantizer: nn.Module, hidden: int, deep: bool) -> None:
        super().__init__()
        self.quantizer = quantizer
        if deep:
            self.encoder, self.decoder = ConvolutionalEncoder(1, hidden, DIM), ConvolutionalDecoder(1, hidden, DIM)
            return
        self.encoder = _ChannelsLast(
            nn.Conv2d(1, hidden, 4, stride=4), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, DIM, 1),
        )  # fmt: skip
        self.decoder = _ChannelsFirst(
            nn.Conv2d(DIM, hidden, 3, padding=1), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.ConvTranspose2d(hidden, 1, 4, stride=4),
        )  # fmt: skip

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors = self.encoder(images)
        quantized, indices, loss = quantize(self.quantizer, vectors.reshape(-1, DIM))
        return self.decoder(quantized.view_as(vectors)), indices, loss


def train(make: Callable[[int], nn.Module], codes: int, seed: int, data: "Images", arguments: Any) -> dict[str, float]:
    torch.manual_seed(seed)
    model = Autoencoder(
        nn.Identity(), arguments.hidden, arguments.deep
    )  # first, so that all start from the same weights
    torch.manual_seed(seed)
    model.quantizer = make(codes)
    model.to(arguments.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    images = data.train_images
    order = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    for _ in range(arguments.steps):
        batch = images[torch.randint(len(images), (BATCH,), generator=order)].to(arguments.device)
        output, _, loss = model(batch)
        loss = loss + (output - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    model.eval()
    error, floor, used = 0.0, 0.0, torch.zeros(codes, dtype=torch.bool)
    with torch.no_grad():
        for part in data.test_images.split(500):
            batch = part.to(arguments.device)
            output, indices, _ = model(batch)
            error += float((output - batch).square().mean()) * len(part)
            floor += float((model.decoder(model.encoder(batch)) - batch).square().mean()) * len(part)
            used[indices.flatten().cpu()] = True
    count = len(data.test_images)
    return {"error": error / count, "floor": floor / count, "live": float(used.float().mean()), "seconds": seconds}


class Images:
    """The images of a data module, in memory as float32 in [0, 1]."""

    def __init__(self) -> None:
        data = FashionMNIST(batch_size=BATCH, validation=0)
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
        self.train_images = _stack(data.dataset("train"))
        self.test_images = _stack(data.dataset("test"))


def _stack(dataset: Any) -> Tensor:
    return torch.stack([dataset[i][0] for i in range(len(dataset))])


def peak_memory(name: str, codes: int) -> float:
    """Peak resident MiB above the start of three steps of a quantiser, in a separate process."""
    code = f"from benchmarks.vq.codebooks import _measure_peak; _measure_peak({name!r}, {codes})"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def _measure_peak(name: str, codes: int) -> None:
    warnings.filterwarnings("ignore")
    quantizer, vectors = MAKERS[name](codes), torch.randn(VECTORS, DIM, requires_grad=True)
    step = stepper(quantizer, vectors)
    print(peak_of(lambda: [step() for _ in range(3)]))


def stepper(quantizer: nn.Module, vectors: Tensor) -> Callable[[], None]:
    def step() -> None:
        vectors.grad = None
        quantized, _, loss = quantize(quantizer, vectors)
        (quantized.sum() + loss).backward()
        if isinstance(quantizer, VectorQuantizer):
            quantizer.update()  # theirs updates in the forward pass

    return step


def compare(codes: int, data: Images, arguments: Any) -> None:
    """Trains with each quantiser and seed, and prints a line a run and a summary over seeds."""
    runs: dict[str, list[dict[str, float]]] = {}
    for name in arguments.only:
        runs[name] = []
        for seed in arguments.seeds:
            run = train(MAKERS[name], codes, seed, data, arguments)
            runs[name].append(run)
            print(
                f"{codes:>6} codes  {name:<16} seed {seed:<4} error {run['error']:.5f} (unquantised {run['floor']:.5f})   "
                f"live {run['live']:6.1%}   {run['seconds']:6.0f} s",
                flush=True,
            )
    for name, each in runs.items() if len(arguments.seeds) > 1 else ():
        mean = {key: statistics.mean(run[key] for run in each) for key in each[0]}
        spread = statistics.stdev(run["error"] for run in each)
        print(
            f"{codes:>6} codes  {name:<16} {len(each)} seeds   error {mean['error']:.5f} +- {spread:.5f} "
            f"(unquantised {mean['floor']:.5f})   live {mean['live']:6.1%}{_against_ours(each, runs.get('ours'))}",
            flush=True,
        )


def _against_ours(runs: list[dict[str, float]], ours: list[dict[str, float]] | None) -> str:
    """The mean and the range over seeds of error / error of ours."""
    if ours is None or runs is ours:
        return ""
    ratios = [run["error"] / other["error"] for run, other in zip(runs, ours, strict=True)]
    return f"   error / ours {statistics.mean(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--codes", type=int, nargs="+", default=[256, 1024, 8192])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--skip", choices=["training", "timing"], default=None)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.skip != "training":
        print(
            f"Fashion-MNIST, {arguments.steps} steps of batch {BATCH}, seeds {arguments.seeds}, {device_name(arguments.device)}"
        )
        data = Images()
        for codes in arguments.codes:
            compare(codes, data, arguments)
    if arguments.skip != "timing":
        print(f"quantiser alone, {VECTORS:,} x {DIM}, forward + backward, {device_name(arguments.device)}")
        for codes in arguments.codes:
            vectors = torch.randn(VECTORS, DIM, device=arguments.device, requires_grad=True)
            steps = {name: stepper(MAKERS[name](codes).to(arguments.device), vectors) for name in arguments.only}
            times = interleaved(steps, arguments.rounds, arguments.device)
            for name in arguments.only:
                memory = f"   peak {peak_memory(name, codes):6.0f} MiB" if arguments.device == "cpu" else ""
                print(
                    f"{codes:>6} codes  {name:<16}{milliseconds(times[name]):>8.1f} ms   "
                    f"{ratio(times[name], times['ours']):.2f} times ours{memory}"
                )


if __name__ == "__main__":
    main()
