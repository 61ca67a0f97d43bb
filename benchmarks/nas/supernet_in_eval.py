"""A supernet in eval() against the network derived from it: the same operations, and the look-up of the decision.

python -m benchmarks.nas.supernet_in_eval --threads 1

Both take turns; printed are median times and the median of their ratios. The architecture is a random one all of whose
operations the output depends on: others run in a supernet, and are not in a derived network.
"""

import argparse

import torch

from benchmarks._timing import device_name, interleaved, milliseconds, ratio
from discrete_lightning.nas import DARTSSpace, InvertedResidualSpace, NASBench201, SearchSpace, derive

SPACES: dict[str, SearchSpace] = {
    "DARTS": DARTSSpace(channels=16, cells=8),
    "NAS-Bench-201": NASBench201(channels=16, cells=5),
    "inverted residuals": InvertedResidualSpace(),
}


def connected_architecture(space: SearchSpace, seed: int) -> list[str]:
    """A random one in which every operation is on a path from the input to the output."""
    generator = torch.Generator().manual_seed(seed)
    while (found := space.random(generator)) != space.used(found):
        pass
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of the architecture")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{device_name(arguments.device)}, torch {torch.__version__}, batch {arguments.batch}, images of 32 x 32")
    images = torch.rand(arguments.batch, 3, 32, 32, device=arguments.device)
    for name, space in SPACES.items():
        torch.manual_seed(arguments.seed)
        supernet = space.supernet(3, 10).to(arguments.device).eval()
        decided = supernet.choice.indices(connected_architecture(space, arguments.seed))
        with torch.no_grad():
            supernet.choice.logits[range(space.choices), decided] = 1.0
            derived = derive(supernet)
            contestants = {"supernet": lambda net=supernet: net(images), "derived": lambda net=derived: net(images)}
            seconds = interleaved(contestants, arguments.rounds, arguments.device)
        print(
            f"{name:<20} supernet in eval {milliseconds(seconds['supernet']):7.2f} ms, derived "
            f"{milliseconds(seconds['derived']):7.2f} ms, ratio {ratio(seconds['supernet'], seconds['derived']):.2f}"
        )


if __name__ == "__main__":
    main()
