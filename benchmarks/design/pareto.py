"""Several oracles: hypervolume of the Pareto front after equal numbers of oracle calls, on pairs and triples of oracles.

python -m benchmarks.design.pareto [--seeds 5] [--calls 500 2000] [--only NAME] [--methods NAME ...]

Each method may call the oracles for the same number of sequences, and its front is that of all sequences that it scored:

- ParetoSearch with its defaults;
- one weighting: GradientSearch of the sum, each score in units of its deviation over random sequences. Half of the calls for 8
  chains with ReinMax, half for a polish with beams;
- 5 weightings: the same with a fifth of the calls for each of five weightings from one end to the other (for three oracles: the
  middle, and each oracle at .8), and the fronts merged;
- calls=N: GradientSearch(calls=N) of the sum, which plans itself;
- MetropolisSearch of the sum;
- random sequences.

Hypervolume from the mean of random sequences, in their deviations. Sequences of 120 letters, each of at least three seeds. The
settings of ParetoSearch were chosen on other oracles (GABPA and FOS::JUN scans, other convolutions) of 100 letters.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from discrete_lightning.design import (
    DesignProblem,
    FromNothing,
    GradientSearch,
    MetropolisSearch,
    ParetoSearch,
    Polish,
    Search,
    hypervolume,
)
from discrete_lightning.design.oracles import MotifScan, WeightedSum
from discrete_lightning.estimators import ReinMax

LENGTH = 120


class RandomCNN(nn.Module):
    """Two convolutions, the second one dilated, with random weights."""

    first: Tensor
    second: Tensor
    last: Tensor

    def __init__(self, seed: int, width: int = 12, channels: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.register_buffer("first", normal(channels, 4, width) / 2)
        self.register_buffer("second", normal(channels, channels, 5) * 1.5 / (5 * channels) ** 0.5)
        self.register_buffer("last", normal(channels) / channels**0.5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.gelu(nn.functional.conv1d(x, self.first))
        hidden = nn.functional.gelu(nn.functional.conv1d(hidden, self.second, dilation=3))
        scores: Tensor = (hidden.amax(-1) + hidden.mean(-1)) @ self.last
        return scores


# name -> oracles, and the direction of each
PROBLEMS: dict[str, tuple[Callable[[], list[nn.Module]], tuple[float, ...]]] = {
    "GATA2 up, JUN up": (lambda: [MotifScan("GATA2"), MotifScan("JUN")], (1.0, 1.0)),
    "GATA2 up, JUN down": (lambda: [MotifScan("GATA2"), MotifScan("JUN")], (1.0, -1.0)),
    "JUN scan up, CNN up": (lambda: [MotifScan("JUN"), RandomCNN(201)], (1.0, 1.0)),
    "CNN up, CNN down": (lambda: [RandomCNN(202), RandomCNN(203)], (1.0, -1.0)),
    "CNN up, CNN up": (lambda: [RandomCNN(204), RandomCNN(205)], (1.0, 1.0)),
    "CNN, CNN, GATA2 up": (lambda: [RandomCNN(206), RandomCNN(207), MotifScan("GATA2")], (1.0, 1.0, 1.0)),
}


class Problem:
    """Oracles with the mean and the deviation of each over random sequences."""

    def __init__(self, name: str) -> None:
        make, self.signs = PROBLEMS[name]
        self.oracles = make()
        generator = torch.Generator().manual_seed(0)
        x = nn.functional.one_hot(torch.randint(4, (1000, LENGTH), generator=generator), 4).mT.float()
        oracle = self.weighted([1.0] * len(self.signs))
        with torch.no_grad():
            values = oracle.objectives(oracle.components(x))
        self.mean, self.deviation = values.mean(0), values.std(0)

    def weighted(self, weights: list[float]) -> WeightedSum:
        names = [f"oracle_{i}" for i in range(len(weights))]
        return WeightedSum(self.oracles, [w * s for w, s in zip(weights, self.signs, strict=True)], names)

    def front(self, search: Search, calls: int, weights: list[float], seed: int) -> Tensor:
        """The front that a search finds, in deviations from the mean of random sequences."""
        share = [w / float(d) for w, d in zip(weights, self.deviation, strict=True)]
        problem = DesignProblem(self.weighted(share), FromNothing(LENGTH))
        search.begin(problem, seed).run()
        assert problem.evaluator.count <= calls, "more calls than allowed"
        assert search.front is not None
        return (search.front.values - self.mean) / self.deviation


def planned(calls: int) -> GradientSearch:
    chains, steps = 8, calls // 16
    polish = Polish(proposals=8, patience=4, beam=8, sequences=4, restarts=10_000, calls=calls - chains * steps)
    return GradientSearch(chains, steps, ReinMax(), learning_rate=0.3, polish=polish)


def one(make: Callable[[int], Search]) -> Callable[[Problem, int, int], Tensor]:
    def run(problem: Problem, calls: int, seed: int) -> Tensor:
        return problem.front(make(calls), calls, [1.0] * len(problem.signs), seed)

    return run


def five(problem: Problem, calls: int, seed: int) -> Tensor:
    if len(problem.signs) == 2:
        weightings = [[w, 1 - w] for w in (0.1, 0.3, 0.5, 0.7, 0.9)]
    else:
        weightings = [[1 / 3] * 3, *[[0.8 if i == j else 0.1 for i in range(3)] for j in range(3)]]
    share = calls // len(weightings)
    fronts = [problem.front(planned(share), share, each, 100 * seed + i) for i, each in enumerate(weightings)]
    return torch.cat(fronts)


def random(problem: Problem, calls: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = nn.functional.one_hot(torch.randint(4, (calls, LENGTH), generator=generator), 4).mT.float()
    oracle = problem.weighted([1.0] * len(problem.signs))
    with torch.no_grad():
        values = torch.cat([oracle.objectives(oracle.components(part)) for part in x.split(500)])
    return (values - problem.mean) / problem.deviation


METHODS: dict[str, Callable[[Problem, int, int], Tensor]] = {
    "ParetoSearch": one(ParetoSearch),
    "one weighting": one(planned),
    "5 weightings": five,
    "calls=N": one(lambda calls: GradientSearch(calls=calls)),
    "MetropolisSearch": one(MetropolisSearch),
    "random": random,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--only", default="", help="run only the problems whose name contains this")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ratios: dict[tuple[str, int], list[float]] = {}
    for name in PROBLEMS:
        if arguments.only not in name:
            continue
        problem = Problem(name)
        for calls in arguments.calls:
            print(f"\n{name}, {calls} calls: hypervolume, mean of {arguments.seeds} seeds (deviation), seconds a run")
            means: dict[str, float] = {}
            for method in arguments.methods:
                start = time.perf_counter()
                fronts = [METHODS[method](problem, calls, 10 + seed) for seed in range(arguments.seeds)]
                seconds = (time.perf_counter() - start) / arguments.seeds
                volumes = torch.tensor([hypervolume(front, torch.zeros(front.shape[1])) for front in fronts])
                means[method] = float(volumes.mean())
                print(f"{method:18s} {means[method]:9.2f} ({float(volumes.std()):6.2f})  {seconds:5.1f} s", flush=True)
            for method, mean in means.items():
                ratios.setdefault((method, calls), []).append(means[arguments.methods[0]] / mean)
    print(
        "\nhypervolume of ParetoSearch / that of the method: geometric mean over the problems, least, problems below 1"
    )
    for (method, calls), found in ratios.items():
        mean = float(torch.tensor(found).log().mean().exp())
        print(f"{method:18s} {calls:6d} calls  {mean:6.2f}  {min(found):6.2f}  {sum(each < 1 for each in found)}")


if __name__ == "__main__":
    main()
