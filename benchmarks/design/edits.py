"""Editing sequences: GradientSearch against ledidi and greedy edits proposed by gradients, on two oracles and five starts.

python -m benchmarks.design.edits [--starts 5] [--out DIR]      needs `pip install ledidi==2.2.0`

Objective of all: (score - target)^2 + 0.1 * edits, lower is better. Oracles: the GATA2 motif scan (2,114 bp, target 14) and a
dilated CNN (64 channels, 8 layers, 500 bp, target 3.5) that this script trains on sequences with planted motifs. One
evaluation is one sequence through the oracle, with or without gradient. For ledidi the best sequence of all that it sampled
counts, which may not be in the batch that it returns. Requirements: a lower mean total than ledidi and both greedy methods,
with at most half of ledidi's evaluations.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from discrete_lightning.design import DesignProblem, Edit, GradientSearch, Polish, Target
from discrete_lightning.design.alphabet import DNA
from discrete_lightning.design.oracles import MotifScan, SequenceCNN
from discrete_lightning.estimators import ReinMax

WEIGHT = 0.1
Curve = list[tuple[int, float]]  # evaluations, best total so far


class Recorder(nn.Module):
    """An oracle that records the best total of the sequences that it scored."""

    def __init__(self, oracle: nn.Module, template: Tensor, target: float) -> None:
        super().__init__()
        self.oracle, self.template, self.target = oracle, template, target
        self.curve: Curve = []

    def forward(self, x: Tensor) -> Tensor:
        scores = self.oracle(x)
        edits = (x.detach().argmax(1) != self.template).sum(-1)
        totals = (scores.detach() - self.target).square() + WEIGHT * edits
        calls, best = self.curve[-1] if self.curve else (0, float("inf"))
        self.curve.append((calls + len(x), min(best, float(totals.min()))))
        return scores


def ours(recorder: Recorder, template: Tensor, seed: int, calls: int) -> None:
    chains, steps = 8, calls // 16
    rest = calls - chains * steps - 1  # the template is scored first
    polish = Polish(proposals=8, patience=4, beam=8, sequences=4, restarts=10_000, calls=rest)
    problem = DesignProblem(recorder, Edit(DNA.decode(template), WEIGHT), goal=Target(recorder.target))
    search = GradientSearch(chains, steps, ReinMax(), learning_rate=0.3, template_logit=6.0, polish=polish)
    search.begin(problem, seed)
    search.run()
    best = search.designs(1)[0]
    assert problem.evaluator.count == recorder.curve[-1][0], "evaluations were not counted exactly"
    assert abs(best.total - recorder.curve[-1][1]) < 1e-3, "the best sequence was lost"


def greedy(recorder: Recorder, template: Tensor, proposals: int) -> None:
    """Evaluates the single edits that the gradient predicts to be best and takes the best of them, until none is better."""
    tokens, total = template.clone(), float("inf")
    while True:
        x = nn.functional.one_hot(tokens, 4).T[None].float().requires_grad_()
        score = recorder(x)
        (slope,) = torch.autograd.grad(score.sum(), x)
        slope = slope[0].T
        edits = (tokens != template).sum()
        total = min(total, float((score.detach() - recorder.target).square() + WEIGHT * edits))
        change = slope - slope.gather(1, tokens[:, None])
        after = (torch.arange(4) != template[:, None]).long() - (tokens != template).long()[:, None] + edits
        predicted = (score.detach() + change - recorder.target).square() + WEIGHT * after
        predicted.scatter_(1, tokens[:, None], torch.inf)
        picked = predicted.flatten().topk(proposals, largest=False).indices
        candidates = tokens.repeat(proposals, 1)
        candidates[torch.arange(proposals), picked // 4] = picked % 4
        with torch.no_grad():
            scores = recorder(nn.functional.one_hot(candidates, 4).mT.float())
        totals = (scores - recorder.target).square() + WEIGHT * (candidates != template).sum(-1)
        if float(totals.min()) >= total:
            return
        tokens, total = candidates[totals.argmin()], float(totals.min())


def ledidi(recorder: Recorder, template: Tensor, seed: int) -> float:
    """Runs ledidi with its default settings; returns the best total of the batch that it returns."""
    from ledidi import ledidi as run_ledidi

    class OneTask(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return recorder(x)[:, None]

    x = nn.functional.one_hot(template, 4).T[None].float()
    target = torch.tensor([[recorder.target]])
    back = run_ledidi(OneTask(), x, target, l=WEIGHT, device="cpu", verbose=False, random_state=seed)
    back = back[0] if isinstance(back, tuple | list) else back
    with torch.no_grad():
        scores = recorder.oracle(back)
    edits = (back.argmax(1) != template).sum(-1)
    return float(((scores - recorder.target).square() + WEIGHT * edits).min())


def train_cnn(count: int = 2500, epochs: int = 12) -> SequenceCNN:
    """Trains on random sequences with planted sites of three real motifs; the activity has an interaction of two of them."""
    generator = torch.Generator().manual_seed(0)
    scans = [MotifScan(name) for name in ("GATA2", "FOS::JUN", "GABPA")]

    def sites(scan: MotifScan, x: Tensor) -> Tensor:
        return torch.sigmoid(2 * (scan.hits(x).flatten(1) - 0.75 * scan.weight.amax(0).sum())).sum(1)

    tokens = torch.randint(4, (count, 200), generator=generator)
    for row in tokens:
        for scan in scans:
            for _ in range(int(torch.randint(0, 5, (), generator=generator))):
                site = torch.multinomial((scan.weight.exp() * 0.25).T, 1, generator=generator).flatten()
                site = site if torch.rand((), generator=generator) < 0.5 else (3 - site).flip(0)
                start = int(torch.randint(0, 200 - scan.width, (), generator=generator))
                row[start : start + scan.width] = site
    x = nn.functional.one_hot(tokens, 4).mT.float()
    first, second, third = (torch.log1p(sites(scan, x)) for scan in scans)
    y = first + second + 0.5 * torch.log1p(first.expm1() * second.expm1()) - 0.5 * third
    y = (y - y.mean()) / y.std()
    torch.manual_seed(0)
    model, train = SequenceCNN(), count * 4 // 5
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    steps = -(-train // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * steps)
    for _ in range(epochs):
        for part in torch.randperm(train, generator=generator).split(32):
            flipped = x[part].flip(1, 2) if torch.rand((), generator=generator) < 0.5 else x[part]
            loss = nn.functional.mse_loss(model(flipped), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        predicted = torch.cat([model(part) for part in x[train:].split(100)])
    correlation = float(torch.corrcoef(torch.stack([predicted, y[train:]]))[0, 1])
    print(f"CNN: correlation with the activity of held-out sequences {correlation:.2f}")
    return model.eval().requires_grad_(False)


def curves(
    name: str, oracle: nn.Module, length: int, target: float, starts: int, calls: int, only: str
) -> dict[str, list[Curve]]:
    generator = torch.Generator().manual_seed(0)
    found: dict[str, list[Curve]] = {}
    returned: list[float] = []
    seconds: dict[str, float] = {}
    methods: dict[str, Callable[[Recorder, Tensor, int], object]] = {
        "discrete_lightning": lambda recorder, template, seed: ours(recorder, template, seed, calls),
        "ledidi 2.2.0": lambda recorder, template, seed: returned.append(ledidi(recorder, template, seed)),
        "greedy, 64 proposals": lambda recorder, template, _: greedy(recorder, template, 64),
        "greedy, 8 proposals": lambda recorder, template, _: greedy(recorder, template, 8),
    }
    for seed in range(starts):
        template = torch.randint(4, (length,), generator=generator)
        for method, run in methods.items():
            if only not in method:
                continue
            recorder = Recorder(oracle, template, target)
            before = time.perf_counter()
            run(recorder, template, seed)
            seconds[method] = seconds.get(method, 0.0) + time.perf_counter() - before
            found.setdefault(method, []).append(recorder.curve)
    print(f"\n{name}: mean total of {starts} starts, mean oracle evaluations")
    for method, runs in found.items():
        totals = [curve[-1][1] for curve in runs]
        evaluations = [curve[-1][0] for curve in runs]
        line = f"{method:22s} total {sum(totals) / starts:7.3f}  evaluations {sum(evaluations) / starts:8.0f}"
        print(f"{line}  {seconds[method] / starts:6.1f} s  totals {[round(total, 2) for total in totals]}")
    if only:
        return found
    print(f"{'':22s} ledidi's returned batch: best total {sum(returned) / starts:.3f}")
    ratios = [
        ours_[-1][0] / theirs[-1][0]
        for ours_, theirs in zip(found["discrete_lightning"], found["ledidi 2.2.0"], strict=True)
    ]
    print(
        f"{'':22s} our evaluations / ledidi's: mean {sum(ratios) / starts:.2f}, largest {max(ratios):.2f}", flush=True
    )
    return found


def draw(results: dict[str, dict[str, list[Curve]]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, found) in zip(figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True):
        for color, (method, runs) in enumerate(found.items()):
            for i, curve in enumerate(runs):
                evaluations, totals = zip(*curve, strict=True)
                label = method if i == 0 else None
                axes.step(evaluations, totals, where="post", color=f"C{color}", lw=1.2, alpha=0.8, label=label)
        axes.set_xscale("log")
        axes.set_xlabel("oracle evaluations")
        axes.set_ylabel("best total so far")
        axes.set_title(name)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument(
        "--calls",
        type=int,
        nargs=2,
        default=[1600, 2400],
        help="the evaluations of GradientSearch for each start, for each oracle",
    )
    parser.add_argument("--oracles", nargs="+", choices=("scan", "cnn"), default=["scan", "cnn"])
    parser.add_argument("--only", default="", help="run only the methods whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/design/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    starts, calls, only = arguments.starts, arguments.calls, arguments.only
    gata, cnn = "GATA2 scan, 2,114 bp, target 14", "dilated CNN, 500 bp, target 3.5"
    results = {}
    if "scan" in arguments.oracles:
        results[gata] = curves(gata, MotifScan("GATA2"), 2114, 14.0, starts, calls[0], only)
    if "cnn" in arguments.oracles:
        results[cnn] = curves(cnn, train_cnn(), 500, 3.5, starts, calls[1], only)
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw(results, arguments.out / "edits.png")


if __name__ == "__main__":
    main()
