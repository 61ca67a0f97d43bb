"""GB1: CNNs are trained on 5,000 measured variants, and the designs are judged by the table of all 149,361 measured variants.

python recipes/design/gb1.py [--training 5000] [--seeds 3]         about 2 minutes on one core

Prints the measured fitness (log enrichment; wild type 0, best variant 2.163) of 100 designs: of GradientSearch on the
pessimistic ensemble and on a single CNN, of greedy hill climbing from random sequences on both with as many calls, of the 100
best training variants, and of 100 random variants. Designs that were not measured are counted and left out of the means. The
last lines give the mean of the means and the maximum of the best over the seeds.
"""

import argparse

import torch
from torch import Tensor, nn

from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch, Polish
from discrete_lightning.design.alphabet import PROTEIN
from discrete_lightning.design.oracles import GB1, GB1Surrogate

COUNT = 100


def designed(oracle: nn.Module, seed: int) -> tuple[Tensor, int]:
    """100 designs, and the number of oracle calls of the search."""
    polish = Polish(proposals=16, patience=2, sequences=32)
    search = GradientSearch(chains=64, steps=30, learning_rate=1.0, polish=polish)
    search.begin(DesignProblem(oracle, FromNothing(4), PROTEIN), seed)
    search.run()
    tokens = PROTEIN.encode_all([design.sequence for design in search.designs(COUNT)])
    return tokens, search.problem.evaluator.count


@torch.no_grad()
def greedy(oracle: nn.Module, seed: int, calls: int) -> Tensor:
    """Hill climbing from random sequences by the best of all single edits; the 100 best of the sequences it scored."""
    generator = torch.Generator().manual_seed(seed)
    scored: dict[tuple[int, ...], float] = {}
    while len(scored) < calls:
        tokens, best = torch.randint(20, (4,), generator=generator), -float("inf")
        while True:
            near = tokens.repeat(80, 1)
            near[torch.arange(80), torch.arange(80) // 20] = torch.arange(80) % 20
            scores = oracle(nn.functional.one_hot(near, 20).mT.float())
            scored |= dict(zip(map(tuple, near.tolist()), scores.tolist(), strict=True))
            if float(scores.max()) <= best:
                break
            tokens, best = near[scores.argmax()], float(scores.max())
    return torch.tensor(sorted(scored, key=lambda sequence: -scored[sequence])[:COUNT])


class Report:
    """Prints each row, and at the end a summary over the seeds."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[float, float]]] = {}

    def row(self, name: str, tokens: Tensor) -> None:
        measured = GB1()(nn.functional.one_hot(tokens, 20).mT.float())
        finite = measured[measured.isfinite()]
        missing = f"({len(tokens) - len(finite)} of {len(tokens)} not measured)"
        mean, best = float(finite.mean()), float(finite.max())
        self.rows.setdefault(name, []).append((mean, best))
        print(f"{name:44s} mean {mean:6.3f}  best {best:6.3f}  {missing}", flush=True)

    def summary(self) -> None:
        for name, seeds in self.rows.items():
            means, bests = zip(*seeds, strict=True)
            print(f"{name:44s} mean over seeds {sum(means) / len(means):6.3f}  max over seeds {max(bests):6.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everything, values = GB1().measured()
    report = Report()
    for seed in range(arguments.seeds):
        print(f"seed {seed}, {arguments.training} training variants, measured fitness of {COUNT} designs:")
        surrogate = GB1Surrogate(arguments.training, seed=seed)
        surrogate.prepare_oracle()
        surrogate.eval()
        for kind, oracle in (("pessimistic ensemble", surrogate), ("single CNN", surrogate.members[0])):
            tokens, calls = designed(oracle, seed)
            print(f"  ({calls} calls of the {kind})")
            report.row(f"GradientSearch, {kind}", tokens)
            report.row(f"greedy, {kind}", greedy(oracle, seed, calls))
        trained_on, fitness = surrogate.variants()
        report.row("best training variants", trained_on[fitness.argsort(descending=True)[:COUNT]])
        chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[:COUNT]
        report.row("random", everything[chosen])
    print(f"all {arguments.seeds} seeds")
    report.summary()


if __name__ == "__main__":
    main()
