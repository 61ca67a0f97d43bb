"""Ehrlich functions of 32 letters: for how many function seeds the optimum is found within 50,000 evaluations.

python -m benchmarks.design.ehrlich [--seeds 10] [--no-genetic]

GradientSearch is a WHITE-BOX search: it uses the gradient of a smooth extension, which shows which letter of a motif is missing
where. The genetic algorithm is a black-box search that uses only values. The two must not be compared; both are printed to show
how hard the functions are. Requirements (white-box): 64/2/4 and 128/4/4 at least 8 of 10, 32/4/4 at least 6 of 10.
"""

import argparse
import time

import numpy as np
import torch

from benchmarks._evolution import Counted, Tokens, genetic
from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch, Polish
from discrete_lightning.design.oracles import Ehrlich
from discrete_lightning.estimators import ReinMax

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"
BUDGET = 50_000
SIZES = ((64, 2, 4), (128, 4, 4), (32, 4, 4))


def white_box(oracle: Ehrlich, seed: int) -> tuple[int, float]:
    """The number of evaluations until the optimum (or of all evaluations) and the best value."""
    polish = Polish(proposals=16, patience=4, beam=16, sequences=16, restarts=10_000, calls=BUDGET - 64 * 50 - 1000)
    search = GradientSearch(chains=64, steps=50, estimator=ReinMax(), learning_rate=1.0, polish=polish)
    search.begin(DesignProblem(oracle, FromNothing(oracle.length), LETTERS), seed)
    search.run(until=lambda now: now.best_score == 1)
    now = search.progress()
    tokens = search.problem.alphabet.encode(now.sequence)
    assert float(oracle(search.problem.one_hot(tokens[None]).mT)) == now.best_score
    return now.calls, now.best_score


def black_box(oracle: Ehrlich, seed: int) -> tuple[int, float]:
    """The same for a genetic algorithm. It starts from feasible sequences: one letter repeated is never infeasible."""
    rng = np.random.default_rng(seed)

    def value(tokens: Tokens) -> float:
        x = torch.nn.functional.one_hot(torch.from_numpy(tokens), oracle.letters).T[None].float()
        return float(oracle(x))

    score = Counted(value, BUDGET, enough=1.0)
    first = [np.full(oracle.length, letter % oracle.letters) for letter in range(oracle.letters)]
    genetic(score, first, oracle.letters, rng)
    return len(score.best), score.best[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--no-genetic", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for length, motifs, size in SIZES:
        methods = {"white-box GradientSearch": white_box}
        if not arguments.no_genetic:
            methods["black-box genetic algorithm (50 + 50)"] = black_box
        for name, method in methods.items():
            start = time.perf_counter()
            seeds = range(arguments.seeds if name.startswith("white") else min(arguments.seeds, 3))
            found = [method(Ehrlich(32, length, motifs, size, seed=seed), seed) for seed in seeds]
            solved = [calls for calls, best in found if best == 1]
            missed = [round(best, 3) for _, best in found if best < 1]
            print(
                f"L={length} c={motifs} k={size}  {name}: optimum in {len(solved)} of {len(found)}, evaluations {solved}"
                + (f", others reached {missed}" if missed else "")
                + f"  ({time.perf_counter() - start:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
