"""Ground truth of a small space: all 125 cells of three edges and five operations, each trained alone on Fashion-MNIST.

python -m benchmarks.nas.architecture_table --data FOLDER    about 20 minutes on one thread; writes (or resumes)
                                                          benchmarks/nas/results/architecture_table.csv

Fixed budget: 3,200 images, 4 epochs, batch 64, SGD; three seeds. Validation on 2,000 further training images, test on the
10,000 test images. Every architecture of one seed sees the same batches.
"""

import argparse
import csv
import itertools
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from discrete_lightning.data import FashionMNIST
from discrete_lightning.nn import NASBench201
from discrete_lightning.schedules import Cosine

SPACE = NASBench201(channels=8, cells=1, nodes=3, stages=2, stem_stride=2)
TABLE = Path(__file__).parent / "results" / "architecture_table.csv"
IMAGES, VALIDATION, EPOCHS, BATCH, SEEDS = 3200, 2000, 4, 64, 3
COLUMNS = ["architecture", "seed", "validation", "test", "parameters", "flops", "seconds"]
Split = tuple[Tensor, Tensor]


def splits(folder: str | None) -> dict[str, Split]:
    """Images in [0, 1] and labels."""
    data = FashionMNIST(folder=folder, validation=VALIDATION)
    data.prepare_data()
    train, validation, test = data.dataset("train"), data.dataset("validation"), data.dataset("test")
    return {
        "train": train.__getitems__(range(IMAGES)),
        "validation": validation.__getitems__(range(VALIDATION)),
        "test": test.__getitems__(range(len(test))),
    }


def train(network: nn.Module, data: Split, seed: int, epochs: int = EPOCHS, rate: float = 0.1) -> None:
    """Trains with SGD and a cosine; the order of the images is the seed's."""
    images, labels = data
    order = torch.Generator().manual_seed(seed)
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule, step = Cosine(rate, 0.0, steps), 0
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=order)[: len(images) // BATCH * BATCH].split(BATCH):
            optimizer.param_groups[0]["lr"] = schedule(step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1


@torch.no_grad()
def accuracy(network: nn.Module, data: Split) -> float:
    network.eval()
    right = sum(
        int((network(x).argmax(1) == y).sum()) for x, y in zip(*(part.split(500) for part in data), strict=True)
    )
    network.train()
    return right / len(data[1])


def row(architecture: list[str], seed: int, data: dict[str, Split]) -> dict[str, object]:
    torch.manual_seed(seed)
    network = SPACE.build(architecture, image_channels=1, classes=10)
    start = time.perf_counter()
    train(network, data["train"], seed)
    seconds = time.perf_counter() - start
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        network(data["test"][0][:2])
    return {
        "architecture": "|".join(architecture),
        "seed": seed,
        "validation": f"{accuracy(network, data['validation']):.4f}",
        "test": f"{accuracy(network, data['test']):.4f}",
        "parameters": sum(each.numel() for each in network.parameters()),
        "flops": flops.get_total_flops() // 2,
        "seconds": f"{seconds:.2f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with fashion-mnist/ (default: see discrete_lightning.data.MNIST)")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--only", type=int, help="train this many architectures, for a look at the spread")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    done = set()
    if arguments.table.exists():
        with arguments.table.open() as file:
            done = {(each["architecture"], int(each["seed"])) for each in csv.DictReader(file)}
    data = splits(arguments.data)
    architectures = list(itertools.product(SPACE.options, repeat=SPACE.choices))
    if arguments.only:
        architectures = architectures[:: len(architectures) // arguments.only]
    with arguments.table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for seed in range(arguments.seeds):
            for architecture in architectures:
                if ("|".join(architecture), seed) not in done:
                    writer.writerow(row(list(architecture), seed, data))
                    file.flush()
    with arguments.table.open() as file:
        found: dict[str, list[float]] = {}
        for each in csv.DictReader(file):
            found.setdefault(each["architecture"], []).append(100 * float(each["test"]))
    means = [statistics.mean(values) for values in found.values()]
    print(f"{len(means)} cells: best {max(means):.2f} %, median {statistics.median(means):.2f} %")


if __name__ == "__main__":
    main()
