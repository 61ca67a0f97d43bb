"""TFBind8: oracle calls until the best 8-mer with gradients, and the regret of black-box searches after 100 to 2,000 calls.

python -m benchmarks.design.tfbind8 [--seeds 10] [--calls 100 500 1000 2000]

Requirements: with gradients (white-box) the optimum for every seed within 2,000 calls; without gradients (black-box) a mean
regret not above those of ageing evolution without repeats and of a genetic algorithm (50 + 50) in the same run.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks._evolution import Counted, Tokens, ageing, genetic
from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch, Search, SurrogateSearch
from discrete_lightning.design.oracles import TFBind8

CALLS = (100, 500, 1000, 2000)
_PLACES = 4 ** np.arange(7, -1, -1)


def white_box(seed: int) -> Search:
    """The search of configs/design/quickstart.yaml."""
    return GradientSearch(calls=1000).begin(DesignProblem(TFBind8(), FromNothing(8)), seed)


def calls_to_optimum(search: Search, best: float) -> int | None:
    search.run()
    return next((each.calls for each in search.trajectory if each.best_score >= best - 1e-6), None)


def regret_of_surrogate(seed: int, table: np.ndarray, marks: Sequence[int]) -> list[float]:
    search = SurrogateSearch(calls=marks[-1]).begin(DesignProblem(TFBind8(), FromNothing(8)), seed)
    search.run()
    tokens = search.evaluated.numpy()
    assert len({row.tobytes() for row in tokens}) == marks[-1], "a sequence was evaluated twice"
    running = np.maximum.accumulate(table[(tokens * _PLACES).sum(1)])
    return [float(table.max() - running[calls - 1]) for calls in marks]


def regret_of_evolution(seed: int, table: np.ndarray, marks: Sequence[int], method: str) -> list[float]:
    rng = np.random.default_rng(seed)

    def look_up(tokens: Tokens) -> float:
        return float(table[(tokens * _PLACES).sum()])

    score = Counted(look_up, marks[-1])
    if method == "genetic":
        first = np.unique(rng.integers(0, 4, (60, 8)), axis=0)
        genetic(score, list(rng.permutation(first)[:50]), 4, rng)
    else:
        population, sample = (int(number) for number in method.split("/"))
        ageing(score, 8, 4, rng, population, sample)
    return [float(table.max() - score.best[calls - 1]) for calls in marks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--calls", type=int, nargs="+", default=CALLS, help="of the black-box searches, in ascending order"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds, marks = range(arguments.seeds), arguments.calls
    table = TFBind8().table.flatten().numpy()
    needed = [calls_to_optimum(white_box(seed), float(table.max())) for seed in seeds]
    found = [calls for calls in needed if calls is not None and calls <= 2000]
    print(
        f"white-box (GradientSearch, exact gradients): optimum in {len(found)} of {len(needed)} seeds, calls {needed}"
    )
    print(f"\nblack-box, mean regret over {len(seeds)} seeds (best score {table.max():.5f}) after {tuple(marks)} calls")
    rows: dict[str, np.ndarray] = {}
    start = time.perf_counter()
    rows["SurrogateSearch"] = np.array([regret_of_surrogate(seed, table, marks) for seed in seeds])
    seconds = (time.perf_counter() - start) / len(seeds)
    for population, sample in ((100, 10), (50, 10), (20, 5)):
        name = f"ageing evolution {population}/{sample}"
        rows[name] = np.array([regret_of_evolution(seed, table, marks, f"{population}/{sample}") for seed in seeds])
    rows["genetic algorithm 50 + 50"] = np.array([regret_of_evolution(seed, table, marks, "genetic") for seed in seeds])
    for name, values in rows.items():
        means = "  ".join(f"{value:.5f}" for value in values.mean(0))
        print(f"{name:26s} {means}   optimum in {int((values[:, -1] < 1e-6).sum())} of {len(values)}")
    rivals = np.stack([values.mean(0) for name, values in rows.items() if name != "SurrogateSearch"]).min(0)
    ours = rows["SurrogateSearch"].mean(0)
    print(
        "SurrogateSearch / best rival at each: "
        + "  ".join(f"{a / max(b, 1e-12):.2f}" for a, b in zip(ours, rivals, strict=True))
    )
    print(f"SurrogateSearch took {seconds:.0f} s a seed on one thread")


if __name__ == "__main__":
    main()
