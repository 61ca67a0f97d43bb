"""Editing with insertions and deletions against substitutions alone, at equal calls.

python -m benchmarks.design.indels [--starts 5] [--calls 400]

A site of two halves of 8 letters is wanted, 7 letters apart. The template of 200 bp has both halves, but 6 or 8 letters apart,
so that one of them is displaced by one place. Objective: (score - target)^2 + 0.1 * edits, lower is better, where the score is
the soft maximum over all places of the number of the site's letters, and the target is all 16. Three oracles:

free        nothing else matters: one insertion or deletion suffices, and shifts all that follows
anchored    a signal of 60 letters behind the site counts at its place: it must not be shifted
network     a CNN trained on sequences with the site, at distances of 5 to 9 (it has learned the site, not the rule)
unneeded    binding of GATA2 (target 11) by a random sequence of 180 bp: insertions and deletions are of little use

The search is GradientSearch(calls=N), which plans itself.
"""

import argparse
import statistics

import torch
from torch import Tensor, nn

from discrete_lightning.design import DesignProblem, Edit, GradientSearch, Target
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.oracles import MotifScan, SequenceCNN

LENGTH, HALF, APART, WEIGHT = 200, 8, 7, 0.1
PROBLEMS = ("free", "anchored", "network", "unneeded")
SITE = ("TGACGTCA", "CCGGAAGT")


def random_dna(count: int, generator: torch.Generator, length: int = LENGTH) -> Tensor:
    return torch.randint(4, (count, length), generator=generator)


def plant(row: Tensor, place: int, apart: int) -> None:
    row[place : place + HALF] = DNA.encode(SITE[0])
    row[place + HALF + apart : place + 2 * HALF + apart] = DNA.encode(SITE[1])


class Site(nn.Module):
    """The soft maximum of the site's letters over all places; with a signal, its letters at their places count 1 / 4 each."""

    def __init__(self, signal: Tensor | None = None) -> None:
        super().__init__()
        kernel = torch.zeros(1, 4, 2 * HALF + APART)
        for i, letter in enumerate(DNA.encode(SITE[0])):
            kernel[0, letter, i] = 1.0
        for i, letter in enumerate(DNA.encode(SITE[1])):
            kernel[0, letter, HALF + APART + i] = 1.0
        self.kernel = nn.Parameter(kernel, requires_grad=False)
        self.signal = signal

    def forward(self, x: Tensor) -> Tensor:
        score = 0.5 * (2.0 * nn.functional.conv1d(x, self.kernel)[:, 0]).logsumexp(-1)
        if self.signal is not None:
            tail = nn.functional.one_hot(self.signal, 4).T
            score = score + 0.25 * ((x[..., -60:] * tail).sum((1, 2)) - 60)
        return score


def template(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    (row,) = random_dna(1, generator)
    plant(row, 60 + int(torch.randint(30, (), generator=generator)), APART - 1 if seed % 2 else APART + 1)
    return row


def network(seed: int = 0) -> nn.Module:
    """A CNN trained to give 16 for the site, and less by 3 for each place that its halves are displaced."""
    torch.manual_seed(seed)
    model, generator = SequenceCNN(channels=32, layers=4), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(600):
        rows, apart = random_dna(64, generator), torch.randint(APART - 2, APART + 4, (64,), generator=generator)
        for row, distance in zip(rows, apart.tolist(), strict=True):
            if distance < APART + 3:  # the rest have no site
                plant(row, int(torch.randint(5, 150, (), generator=generator)), distance)
        value = 16.0 - 3.0 * (apart - APART).abs().float() - 4.0 * (apart == APART + 3)
        loss = (model(nn.functional.one_hot(rows, 4).mT.float()).flatten() - value).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def best_total(
    oracle: nn.Module, row: Tensor, indels: int, calls: int, seed: int, target: float = 16.0
) -> tuple[float, int]:
    """The total of the best design, and its number of edits."""
    problem = DesignProblem(oracle, Edit(DNA.decode(row), WEIGHT, indels=indels), goal=Target(target))
    search = GradientSearch(calls=calls).begin(problem, seed)
    search.run()
    assert problem.evaluator.count <= calls
    best = search.designs(1)[0]
    assert problem.start.apply(best.changes) == best.sequence  # type: ignore[attr-defined]
    return best.total, best.edits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=PROBLEMS)
    arguments = parser.parse_args()
    trained: nn.Module = network() if "network" in arguments.problems else nn.Identity()
    print(f"{arguments.starts} templates, {arguments.calls} calls; mean total +- standard error, mean number of edits")
    for name in arguments.problems:
        line = []
        for indels in (0, 4):
            found = []
            for seed in range(arguments.starts):
                if name == "unneeded":
                    row = random_dna(1, torch.Generator().manual_seed(100 + seed), 180)[0]
                    found.append(best_total(MotifScan("GATA2"), row, indels, arguments.calls, seed, 11.0))
                    continue
                row = template(seed)
                oracle = trained if name == "network" else Site(row[-60:].clone() if name == "anchored" else None)
                found.append(best_total(oracle, row, indels, arguments.calls, seed))
            totals = [total for total, _ in found]
            error = statistics.stdev(totals) / len(totals) ** 0.5
            edits = statistics.mean(edits for _, edits in found)
            line.append(f"indels={indels}: {statistics.mean(totals):6.3f} +- {error:.3f} ({edits:4.1f} edits)")
        print(f"{name:9} {line[0]}   {line[1]}", flush=True)


if __name__ == "__main__":
    main()
