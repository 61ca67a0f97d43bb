"""GB1: CNNs learn from 5,000 measured variants, designs are judged by the measured table that holds 149,361.

python recipes/design/gb1.py [--training 5000] [--seeds 3]         about 2 minutes on one core

Prints the measured fitness (log enrichment; wild type 0, best of all 2.163) of 100 designs: of the search on the careful
ensemble and on a single CNN, of greedy hill climbing from random beginnings on both, with as many calls, of the 100 best
variants that the CNNs had learned from, and of 100 random ones. Designs that nobody measured are left out of the means, and
counted. At the end, over the seeds, the mean of the means and the largest of the bests.
"""

import argparse

import torch
from torch import Tensor, nn

from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch, Polish
from discrete_lightning.design.alphabet import PROTEIN
from discrete_lightning.design.oracles import GB1, GB1Surrogate

COUNT = 100


def designed(oracle: nn.Module, seed: int) -> tuple[Tensor, int]:
    """100 designs, and the calls of the oracle that they took."""
    polish = Polish(proposals=16, patience=2, sequences=32)
    search = GradientSearch(chains=64, steps=30, learning_rate=1.0, polish=polish)
    search.begin(DesignProblem(oracle, FromNothing(4), PROTEIN), seed)
    search.run()
    tokens = PROTEIN.encode_all([design.sequence for design in search.designs(COUNT)])
    return tokens, search.problem.evaluator.count


@torch.no_grad()
def greedy(oracle: nn.Module, seed: int, calls: int) -> Tensor:
    """Climbs from random sequences by the best of all single edits; the 100 best of the sequences it has met."""
    generator = torch.Generator().manual_seed(seed)
    met: dict[tuple[int, ...], float] = {}
    while len(met) < calls:
        tokens, best = torch.randint(20, (4,), generator=generator), -float("inf")
        while True:
            near = tokens.repeat(80, 1)
            near[torch.arange(80), torch.arange(80) // 20] = torch.arange(80) % 20
            scores = oracle(nn.functional.one_hot(near, 20).mT.float())
            met |= dict(zip(map(tuple, near.tolist()), scores.tolist(), strict=True))
            if float(scores.max()) <= best:
                break
            tokens, best = near[scores.argmax()], float(scores.max())
    return torch.tensor(sorted(met, key=lambda sequence: -met[sequence])[:COUNT])


class Report:
    """Prints each row, and at the end what it comes to over the seeds."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[float, float]]] = {}

    def row(self, name: str, tokens: Tensor) -> None:
        measured = GB1()(nn.functional.one_hot(tokens, 20).mT.float())
        known = measured[measured.isfinite()]
        unknown = f"({len(tokens) - len(known)} of {len(tokens)} not measured)"
        mean, best = float(known.mean()), float(known.max())
        self.rows.setdefault(name, []).append((mean, best))
        print(f"{name:44s} mean {mean:6.3f}  best {best:6.3f}  {unknown}", flush=True)

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
        print(
            f"seed {seed}, {arguments.training} measured variants to learn from, measured fitness of {COUNT} designs:"
        )
        surrogate = GB1Surrogate(arguments.training, seed=seed)
        surrogate.prepare_oracle()
        surrogate.eval()
        for kind, oracle in (("careful ensemble", surrogate), ("single CNN", surrogate.members[0])):
            tokens, calls = designed(oracle, seed)
            print(f"  ({calls} calls of the {kind})")
            report.row(f"GradientSearch, {kind}", tokens)
            report.row(f"greedy, {kind}", greedy(oracle, seed, calls))
        learned, fitness = surrogate.variants()
        report.row("the best that were learned from", learned[fitness.argsort(descending=True)[:COUNT]])
        chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[:COUNT]
        report.row("random", everything[chosen])
    print(f"all {arguments.seeds} seeds")
    report.summary()


if __name__ == "__main__":
    main()
