"""GB1: CNNs learn from 5,000 measured variants, designs are judged by the measured table that holds 149,361.

python recipes/design/gb1.py [--training 5000] [--seeds 3]         about 2 minutes on one core

Prints the measured fitness (log enrichment; wild type 0, best of all 2.163) of 100 designs: of SequenceDesigner on the careful
ensemble, of the same on a single CNN, of greedy hill climbing on that CNN from random beginnings, of the 100 best variants that
the CNNs had learned from, and of 100 random ones. Designs that nobody measured are left out of the means, and counted.
"""

import argparse

import torch
from torch import Tensor, nn

from discrete_lightning.alphabet import PROTEIN
from discrete_lightning.design import DesignProblem, FromNothing, GradientSearch, Polish
from discrete_lightning.oracles import GB1, GB1Surrogate

COUNT = 100


def designed(oracle: nn.Module, seed: int) -> Tensor:
    polish = Polish(proposals=16, patience=2, sequences=32)
    search = GradientSearch(chains=64, steps=30, learning_rate=1.0, polish=polish)
    search.begin(DesignProblem(oracle, FromNothing(4), PROTEIN), seed)
    search.run()
    print(f"  ({search.problem.evaluator.count} calls of the surrogate)")
    return PROTEIN.encode_all([design.sequence for design in search.designs(COUNT)])


def greedy(oracle: nn.Module, seed: int) -> Tensor:
    """Climbs from random sequences by the best of all single edits; the 100 best of the sequences it has met."""
    generator = torch.Generator().manual_seed(seed)
    met: dict[tuple[int, ...], float] = {}
    while len(met) < 4000:  # as many calls as the search above
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


def report(name: str, tokens: Tensor) -> None:
    measured = GB1()(nn.functional.one_hot(tokens, 20).mT.float())
    known = measured[measured.isfinite()]
    unknown = f"({len(tokens) - len(known)} of {len(tokens)} not measured)"
    print(f"{name:44s} mean {known.mean():6.3f}  best {known.max():6.3f}  {unknown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everything, values = GB1().measured()
    for seed in range(arguments.seeds):
        print(
            f"seed {seed}, {arguments.training} measured variants to learn from, measured fitness of {COUNT} designs:"
        )
        surrogate = GB1Surrogate(arguments.training, seed=seed)
        surrogate.prepare()
        surrogate.eval()
        report("SequenceDesigner, ensemble with caution", designed(surrogate, seed))
        report("SequenceDesigner, a single CNN", designed(surrogate.members[0], seed))
        with torch.no_grad():
            report("greedy on the single CNN", greedy(surrogate.members[0], seed))
        learned, fitness = surrogate.variants()
        report("the best that were learned from", learned[fitness.argsort(descending=True)[:COUNT]])
        chosen = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))[:COUNT]
        report("random", everything[chosen])


if __name__ == "__main__":
    main()
