"""Batches of 20 designs that differ: `diverse=True` against `distance`, of the same searches.

python -m benchmarks.design.diversity [--seeds 5] [--calls 2000]

GradientSearch(calls=N) is run once for each seed, and batches are chosen from what it kept. `distance=d` chooses among the 512
best of all and the best of each chain, as it did before there was an archive of diverse sequences. Columns: the mean score of
the 20 (and its share of the best one's improvement over the first sequences scored), the mean and the least number of letters
in which two of them differ, and how many designs there are; means over the seeds and, of two figures, standard errors.
"""

import argparse
import statistics
from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor, nn

from discrete_lightning.design import Design, DesignProblem, Edit, FromNothing, GradientSearch, Target, select
from discrete_lightning.design.oracles import MotifScan, SequenceCNN
from discrete_lightning.design.start import Start

DISTANCES = (1, 5, 10, 20, 40)
LENGTH = 200


class RandomConvolution(nn.Module):
    """Random filters, rectified, averaged over the sequence, and combined by random weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.head = nn.Conv1d(4, 32, 9), nn.Conv1d(32, 32, 5, dilation=4), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return 20 * self.head(self.second(self.first(3 * x).relu()).tanh().mean(-1))


def _untrained() -> nn.Module:
    torch.manual_seed(1)
    return SequenceCNN(channels=32, layers=4)


PROBLEMS: dict[str, tuple[Callable[[], nn.Module], Start, bool]] = {
    "motif scan": (lambda: MotifScan("GATA2"), FromNothing(LENGTH), False),
    "random convolution": (RandomConvolution, FromNothing(LENGTH), False),
    "random residual network": (_untrained, FromNothing(LENGTH), False),
    "edit towards a motif": (lambda: MotifScan("GATA2"), Edit("ACGTTGCAATCGGCTATTCA" * 10), True),
}


def figures(batch: list[Design], start: float) -> tuple[float, float, float, float, float]:
    """Mean score, share of the best design's improvement, mean and least distance, number of designs."""
    gaps = [sum(a != b for a, b in zip(x.sequence, y.sequence, strict=True)) for x, y in combinations(batch, 2)] or [0]
    totals = [design.total for design in batch]
    share = (start - statistics.mean(totals)) / (start - min(totals))
    return (
        statistics.mean(each.score for each in batch),
        share,
        statistics.mean(gaps),
        float(min(gaps)),
        float(len(batch)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--only", default="", help="problems with this in their name")
    arguments = parser.parse_args()
    for name, (make, start, edits) in PROBLEMS.items():
        if arguments.only not in name:
            continue
        found: dict[str, list[tuple[float, ...]]] = {}
        for seed in range(arguments.seeds):
            problem = DesignProblem(make(), start, goal=Target(11.0) if edits else None)
            search = GradientSearch(calls=arguments.calls).begin(problem, seed)
            search.run()
            first, tables = float(search.archive.start), [search.best_overall, search.best_per_chain]
            batches = {f"distance={each}": select(problem, tables, 20, each) for each in DISTANCES}
            batches["diverse"] = search.designs(20, diverse=True)
            for key, batch in batches.items():
                found.setdefault(key, []).append(figures(batch, first))
        print(
            f"{name}\n{'':12} {'mean score':>16} {'improvement':>12} {'mean distance':>17} {'least':>6} {'designs':>8}"
        )
        for key, rows in found.items():
            score, share, mean, least, count = (statistics.mean(column) for column in zip(*rows, strict=True))
            scores, _, means, *_ = (statistics.stdev(column) / len(rows) ** 0.5 for column in zip(*rows, strict=True))
            print(
                f"{key:12} {score:8.3f} +- {scores:.3f} {share:11.1%} {mean:9.1f} +- {means:4.1f} {least:6.1f} {count:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
