"""NAS-Bench-201 as a black box: accuracy of the best of 15,625 cells that were looked up, after 50, 100 and 200 look-ups.

python -m benchmarks.nas.nb201 FILE [--seeds 20]   FILE: .npz with `ops` (15,625, 6) in 0..4 and `accuracy` (15,625,) in percent

A cell is a sequence of six letters over five operations, so the black-box search of `design` is used as it is. Baselines in the
same run: random search without repeats, and ageing evolution (Real et al. 2019, https://arxiv.org/abs/1802.01548) without
repeats, of populations of 50 and 10.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._evolution import Counted, Tokens, ageing
from discrete_lightning.design import DesignProblem, FromNothing, SurrogateSearch
from discrete_lightning.design.alphabet import Alphabet

CALLS = (50, 100, 200)
EDGES, OPERATIONS = 6, 5
_PLACES = OPERATIONS ** np.arange(EDGES)


class Table(nn.Module):
    """Accuracies by cell, one-hot (batch, operations, edges) -> (batch,)."""

    accuracy: Tensor

    def __init__(self, accuracy: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("accuracy", torch.from_numpy(accuracy).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.accuracy[(x.argmax(1) * torch.from_numpy(_PLACES)).sum(-1)]


def of_surrogate(seed: int, table: np.ndarray) -> np.ndarray:
    search = SurrogateSearch(calls=CALLS[-1], batch=10, first=20)
    search.begin(DesignProblem(Table(table), FromNothing(EDGES), Alphabet("01234", "")), seed)
    search.run()
    tokens = search.evaluated.numpy()
    assert len(np.unique(tokens, axis=0)) == CALLS[-1], "a cell was looked up twice"
    return np.maximum.accumulate(table[(tokens * _PLACES).sum(1)])


def of_random(seed: int, table: np.ndarray) -> np.ndarray:
    drawn = np.random.default_rng(seed).permutation(len(table))[: CALLS[-1]]
    return np.maximum.accumulate(table[drawn])


def of_evolution(seed: int, table: np.ndarray, population: int, sample: int) -> np.ndarray:
    def look_up(tokens: Tokens) -> float:
        return float(table[(tokens * _PLACES).sum()])

    score = Counted(look_up, CALLS[-1])
    ageing(score, EDGES, OPERATIONS, np.random.default_rng(seed), population, sample)
    return np.array(score.best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.seeds)
    with np.load(arguments.file) as file:
        table = np.empty(OPERATIONS**EDGES)
        table[(file["ops"].astype(np.int64) * _PLACES).sum(1)] = file["accuracy"]
    print(
        f"best cell {table.max():.2f}, mean {table.mean():.2f}; mean best accuracy of {len(seeds)} seeds after {CALLS}"
    )
    rows = {
        "SurrogateSearch": [of_surrogate(seed, table) for seed in seeds],
        "random search": [of_random(seed, table) for seed in seeds],
        "ageing evolution 50/10": [of_evolution(seed, table, 50, 10) for seed in seeds],
        "ageing evolution 10/3": [of_evolution(seed, table, 10, 3) for seed in seeds],
    }
    for name, curves in rows.items():
        values = np.array(curves)[:, [calls - 1 for calls in CALLS]]
        errors = values.std(0, ddof=1) / len(seeds) ** 0.5
        told = "  ".join(f"{mean:.2f} +- {error:.2f}" for mean, error in zip(values.mean(0), errors, strict=True))
        print(f"{name:24s} {told}")


if __name__ == "__main__":
    main()
