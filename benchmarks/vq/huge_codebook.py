"""262,144 codes of dimension 64, trained for one epoch of Fashion-MNIST by index back-propagation with drawn codes.

python -m benchmarks.vq.huge_codebook [--codes 262144] [--negatives 1024] [--batch 512] [--seed 0] [--images 60000] [--full]

The autoencoder of `benchmarks.vq.codebooks` (49 vectors an image, so 2.94 million in an epoch, 11 a code), Adam at a rate
that rises over a tenth of the epoch and falls as a cosine. Training runs in a process of its own, whose extra peak memory is
printed (bar: 4,000 MiB). Then an exact pass over all training images: a code is live if it is the nearest one of at least one
vector (bar: 95 %). Stricter: of at least two vectors; of at least one vector of the 10,000 test images, which have 1.9 vectors
a code; and the perplexity of the codes' use over the training images, as a share of the number of codes. `--full`: time and
peak memory of one step of 3,136 vectors with the softmax over all codes, and with drawn ones.

The epoch takes about half an hour of one core (by its first third), the exact passes several minutes more. A sixteenth of it,
with as many vectors a code and as many steps: --codes 16384 --images 3680 --batch 32 --negatives 256
"""

import argparse
import math
import subprocess
import sys
import time
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._memory import peak_of
from benchmarks._timing import device_name
from benchmarks.vq.codebooks import DIM, Autoencoder, Images
from discrete_lightning.nn import IndexBackpropagationQuantizer


def quantizer_of(arguments: Any) -> IndexBackpropagationQuantizer:
    return IndexBackpropagationQuantizer(arguments.codes, DIM, negatives=arguments.negatives)


def train(arguments: Any, images: Tensor) -> Autoencoder:
    """One epoch."""
    torch.manual_seed(arguments.seed)
    model = Autoencoder(nn.Identity(), 64, False)
    model.quantizer = quantizer_of(arguments)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.learning_rate)
    batches = torch.randperm(len(images), generator=torch.Generator().manual_seed(arguments.seed)).split(
        arguments.batch
    )
    progress = [step / len(batches) for step in range(len(batches) + 1)]
    rates = [max(1e-2, min(1.0, 10 * t) * math.cos(t * math.pi / 2)) for t in progress]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rates.__getitem__)
    start = time.perf_counter()
    for step, rows in enumerate(batches, 1):
        output, indices, loss = forward(model, images[rows])
        error = (output - images[rows]).square().mean()
        optimizer.zero_grad()
        (error + loss).backward()
        optimizer.step()
        schedule.step()
        if step % max(1, len(batches) // 12) == 0:
            print(
                f"step {step:>4} of {len(batches)}   error {float(error.detach()):.5f}   codes in this batch "
                f"{len(indices.unique()):,} of {indices.numel():,} vectors   "
                f"{(time.perf_counter() - start) / step:.2f} s a step",
                flush=True,
            )
    return model


def forward(model: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    vectors = model.encoder(images)
    result = model.quantizer(vectors)
    return model.decoder(result.quantized), result.indices, result.loss


@torch.no_grad()
def use(model: Autoencoder, images: Tensor, codes: int) -> tuple[Tensor, float, float]:
    """How many vectors chose each code (K,), the error, and that without quantisation."""
    counts, error, floor = torch.zeros(codes, dtype=torch.int64), 0.0, 0.0
    for part in images.split(5000):  # so many that cells of codes pay
        vectors = model.encoder(part)
        result = model.quantizer(vectors)
        counts += result.indices.flatten().bincount(minlength=codes)
        error += float((model.decoder(result.quantized) - part).square().mean()) * len(part)
        floor += float((model.decoder(vectors) - part).square().mean()) * len(part)
        print(
            f"of {len(images):,} images, live up to here: {(counts > 0).float().mean():.2%}",
            file=sys.stderr,
            flush=True,
        )
    return counts, error / len(images), floor / len(images)


def report(arguments: Any) -> None:
    """Trains in this process, and prints what came out."""
    warnings.filterwarnings("ignore")
    data = Images()
    images, held = data.train_images[: arguments.images], []
    peak = peak_of(lambda: held.append(train(arguments, images)))
    model = held[0].eval()
    print(f"extra peak of training {peak:,.0f} MiB (bar 4,000)", flush=True)
    if arguments.save:
        torch.save(model.state_dict(), arguments.save)
    tested, error, floor = use(model, data.test_images, arguments.codes)
    print(
        f"test error {error:.5f} (unquantised {floor:.5f}), live on the test images {(tested > 0).float().mean():.2%}",
        flush=True,
    )
    counts, _, _ = use(model, images, arguments.codes)
    shares = counts[counts > 0] / counts.sum()
    perplexity = float(torch.exp(-(shares * shares.log()).sum()))
    print(
        f"{arguments.codes:,} codes, seed {arguments.seed}: live {(counts > 0).float().mean():.2%} (bar 95 %), twice or more "
        f"{(counts > 1).float().mean():.2%}, perplexity / K {perplexity / arguments.codes:.2f}",
        flush=True,
    )


def one_step(negatives: int | None, codes: int) -> None:
    """Prints the seconds and the extra peak of a step of 3,136 vectors, in this process."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    quantizer = IndexBackpropagationQuantizer(codes, DIM, negatives=negatives)
    mixing = torch.randn(8, DIM)  # vectors of an encoder have few dimensions of their own
    quantizer.set_codes(torch.randn(codes, 8) @ mixing)
    vectors = (torch.randn(3136, 8) @ mixing).requires_grad_()

    def step() -> None:
        result = quantizer(vectors)
        (result.quantized.square().sum() + result.loss).backward()

    start = time.perf_counter()
    peak = peak_of(step)
    print(f"softmax over {'all codes' if negatives is None else f'near and {negatives:,} drawn codes'}: "
          f"{time.perf_counter() - start:.1f} s, extra peak {peak:,.0f} MiB")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=262_144)
    parser.add_argument("--negatives", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", default="", help="a file for the trained weights")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--here", action="store_true", help="trains in this process")
    arguments = parser.parse_args()
    if arguments.here:
        report(arguments)
        return
    print(
        f"Fashion-MNIST, one epoch of {arguments.images:,} images, batch {arguments.batch}, {device_name('cpu')}",
        flush=True,
    )
    if arguments.full:
        for negatives in (arguments.negatives, None):
            code = f"from benchmarks.vq.huge_codebook import one_step; one_step({negatives}, {arguments.codes})"
            subprocess.run([sys.executable, "-c", code], check=True)
    subprocess.run([sys.executable, "-m", "benchmarks.vq.huge_codebook", "--here", *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
