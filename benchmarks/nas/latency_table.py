"""The table of latencies against the latency of whole networks: 30 random cells of NAS-Bench-201, each built and measured.

python -m benchmarks.nas.latency_table --threads 1

Table and networks are measured on the device at hand; the networks in several rounds, in turns, and the fastest counts.
"""

import argparse
import random

import torch
from torch import Tensor

from benchmarks._timing import device_name
from discrete_lightning.nas.cost_table import latency
from discrete_lightning.nn import NASBench201


def spearman(x: Tensor, y: Tensor) -> float:
    """Correlation of ranks."""
    ranks = torch.stack([each.argsort().argsort().double() for each in (x, y)])
    return float(torch.corrcoef(ranks)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    space = NASBench201(channels=16, cells=1)
    images = torch.rand(arguments.batch_size, 3, 32, 32, device=arguments.device)
    table, fixed = space.costs(images, 10, "latency")
    chosen = random.Random(arguments.seed)
    architectures = [[chosen.choice(space.options) for _ in range(space.choices)] for _ in range(arguments.networks)]
    indices = [[space.options.index(name) for name in space.used(each)] for each in architectures]
    predicted = torch.tensor([fixed + float(table[range(space.choices), each].sum()) for each in indices])
    networks = [space.build(each, 3, 10).to(arguments.device).eval() for each in architectures]
    with torch.no_grad():
        rounds = [[latency(network, images, rounds=3) for network in networks] for _ in range(arguments.rounds)]
    measured = torch.tensor(rounds).amin(0)
    error = float(((predicted - measured).abs() / measured).mean())
    print(f"{device_name(arguments.device)}, torch {torch.__version__}, batch {arguments.batch_size}, 3 x 32 x 32")
    print(f"{len(networks)} cells, measured {float(measured.min()):.2f} to {float(measured.max()):.2f} ms")
    print(
        f"Spearman of prediction and measurement {spearman(predicted, measured):.3f}, mean relative error {error:.1%}"
    )


if __name__ == "__main__":
    main()
