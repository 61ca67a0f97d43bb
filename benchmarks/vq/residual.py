"""One residual stack for 8 bit rates: against dedicated stacks, and its time beside ResidualVQ of vector-quantize-pytorch.

python -m benchmarks.vq.residual [--seeds 0 1 2] [--data FashionMNIST] [--skip timing]

**Quality.** An autoencoder of fully connected layers codes an image, 14 x 14 after averaging 2 x 2 pixels, as 8 codes of 32
(40 bits). One model is trained with quantiser dropout and decoded at 1 to 8 stages; at each depth a dedicated model, whose
stack has that many stages and no dropout, is trained for as many steps on the same batches from the same weights. Reported:
mean squared error of the 10,000 test images, shared over dedicated; and the share of live codes at each stage of the shared
model. The settings were chosen on MNIST, seed 100.
Bars: at most 1.02 at each depth (mean over seeds), all codes live.

**Time.** A step (forward, backward, update of the codes) of the quantiser alone, in turns on one thread, in processor seconds
(so that other programs count little), the median of rounds; both with dropout of all examples, k-means start and revival;
ResidualVQ drops the same stages of a whole batch, so that a round is 8 steps, one for each depth that it may draw. With a beam
its first step is made without, since its k-means start fails with one.
Bar: at most half of its time. Needs vector-quantize-pytorch==1.32 (left out where it is not installed).
"""

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks._timing import milliseconds, ratio
from benchmarks.vq.codebooks import _stack
from discrete_lightning.data import MNIST, FashionMNIST
from discrete_lightning.nn import ResidualQuantizer, VectorQuantizer

STAGES, CODES, DIM, HIDDEN, BATCH = 8, 32, 16, 128, 256
# batch, vectors an example, dimension, codes, beam
TIMED = [(64, 49, 32, 128, 1), (128, 49, 64, 256, 1), (32, 75, 64, 1024, 1), (16, 49, 32, 128, 4), (16, 49, 64, 512, 4)]


class Model(nn.Module):
    def __init__(self, pixels: int, make: Callable[[], ResidualQuantizer], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.decoder = (
            nn.Sequential(
                nn.Linear(first, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, last)
            )
            for first, last in ((pixels, DIM), (DIM, pixels))
        )
        self.quantizer = make()

    @torch.no_grad()
    def error(self, images: Tensor, depth: int) -> float:
        result = self.quantizer(self.encoder(images), depth=depth)
        return float((self.decoder(result.quantized) - images).square().mean())

    @torch.no_grad()
    def live(self, images: Tensor) -> list[float]:
        columns = self.quantizer(self.encoder(images)).indices.unbind(-1)
        return [float((column.bincount(minlength=CODES) > 0).float().mean()) for column in columns]


def trained(images: Tensor, make: Callable[[], ResidualQuantizer], seed: int, arguments: Any) -> Model:
    model = Model(images.shape[1], make, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(arguments.steps):
        batch = images[torch.randint(len(images), (BATCH,), generator=order)]
        result = model.quantizer(model.encoder(batch))
        loss = (model.decoder(result.quantized) - batch).square().mean() + result.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def quality(arguments: Any) -> None:
    train, test = images(arguments.data)

    def stack(depth: int, **options: Any) -> Callable[[], ResidualQuantizer]:
        return lambda: ResidualQuantizer(VectorQuantizer(CODES, DIM, commitment=arguments.commitment), depth, **options)

    print(
        f"{arguments.data}, {arguments.steps} steps of batch {BATCH}, dropout {arguments.dropout}, seeds {arguments.seeds}"
    )
    ratios: dict[int, list[float]] = {depth: [] for depth in arguments.depths}
    for seed in arguments.seeds:
        shared = trained(train, stack(STAGES, dropout=arguments.dropout), seed, arguments)
        live = shared.live(test)
        print(f"  seed {seed}  live codes by stage {' '.join(f'{each:.1%}' for each in live)}", flush=True)
        for depth in arguments.depths:
            alone = trained(train, stack(depth), seed, arguments).error(test, depth)
            mine = shared.error(test, depth)
            ratios[depth].append(mine / alone)
            print(f"  seed {seed}  {depth} stages  {mine:.5f}  dedicated {alone:.5f}  {mine / alone:.3f}", flush=True)
    for depth, each in ratios.items():
        print(f"{depth} stages: shared / dedicated {statistics.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})")


def images(name: str) -> tuple[Tensor, Tensor]:
    """Training and test images, averaged to 14 x 14 and flattened."""
    data = {"MNIST": MNIST, "FashionMNIST": FashionMNIST}[name](batch_size=BATCH, validation=0)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    train, test = (nn.functional.avg_pool2d(_stack(data.dataset(stage)), 2).flatten(1) for stage in ("train", "test"))
    return train, test


class Case(NamedTuple):
    batch: int
    length: int
    dim: int
    codes: int
    beam: int


def rounds_of(case: Case) -> dict[str, Callable[[], None]]:
    """8 training steps of each library: ours draws a depth for each example, theirs has each depth once."""
    from vector_quantize_pytorch import ResidualVQ

    vectors = torch.randn(case.batch, case.length, case.dim, requires_grad=True)
    ours = ResidualQuantizer(VectorQuantizer(case.codes, case.dim), STAGES, dropout=1.0, beam=case.beam)
    theirs = ResidualVQ(
        dim=case.dim, num_quantizers=STAGES, codebook_size=case.codes, kmeans_init=True, threshold_ema_dead_code=2,
        quantize_dropout=True, beam_size=case.beam if case.beam > 1 else None,
    )  # fmt: skip
    theirs.quantize_dropout = False
    theirs(vectors, beam_size=1)  # starts all its stages
    theirs.quantize_dropout = True
    seeds = seeds_of_depths()

    def our_round() -> None:
        for _ in range(STAGES):
            vectors.grad = None
            result = ours(vectors)
            (result.quantized.sum() + result.loss).backward()
            for each in ours.codebooks():
                each.update()  # type: ignore[operator]

    def their_round() -> None:
        for seed in seeds:
            vectors.grad = None
            quantized, _, loss = theirs(vectors, rand_quantize_dropout_fixed_seed=seed)
            (quantized.sum() + loss.sum()).backward()

    return {"ours": our_round, "theirs": their_round}


def in_turns(contestants: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each contestant in each round, after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            if number:
                seconds[name].append(time.process_time() - start)
    return seconds


def seeds_of_depths() -> Sequence[int]:
    """Seeds with which ResidualVQ keeps 1, 2, ... 8 stages."""
    import random

    found: dict[int, int] = {}
    for seed in range(1000):
        found.setdefault(random.Random(seed).randrange(0, STAGES), seed)
    return [found[depth] for depth in range(STAGES)]


def timing(arguments: Any) -> None:
    if importlib.util.find_spec("vector_quantize_pytorch") is None:
        print("time: vector-quantize-pytorch is not installed")
        return
    torch.set_num_threads(1)
    for case in map(Case._make, TIMED):
        seconds = in_turns(rounds_of(case), arguments.rounds)
        print(
            f"a step, {case.batch * case.length:,} x {case.dim}, {STAGES} stages of {case.codes:>5} codes, beam {case.beam}: "
            f"ours {milliseconds(seconds['ours']) / STAGES:6.1f} ms, "
            f"theirs {milliseconds(seconds['theirs']) / STAGES:6.1f} ms, "
            f"ours / theirs {ratio(seconds['ours'], seconds['theirs']):.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="FashionMNIST", choices=["FashionMNIST", "MNIST"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--depths", type=int, nargs="+", default=list(range(1, STAGES + 1)))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--commitment", type=float, default=0.25)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip", choices=["quality", "timing"], default=None)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.skip != "quality":
        quality(arguments)
    if arguments.skip != "timing":
        timing(arguments)


if __name__ == "__main__":
    main()
