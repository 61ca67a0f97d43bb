"""The bias-variance picture of gradient estimators, against exact gradients, and the classic picture of one relaxed draw.

python recipes/estimators/picture.py [--out DIR] [--draws 4000]

For each estimator and temperature: relative bias |E[g] - exact| / |exact| (the sampling noise taken out of the square)
and the standard deviation of one sample / |exact|, on the measured TFBind8 landscape (exact gradient by its multilinear
extension) and on linear, quadratic and cubic functions of one choice among 5 (exact gradient by enumeration). Writes
bias_variance.csv, bias_variance.png and draws.png.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from discrete_lightning.design.oracles import TFBind8
from discrete_lightning.estimators import (
    REBAR,
    ContractedReinMax,
    Estimator,
    GappedStraightThrough,
    GumbelRao,
    GumbelSoftmax,
    IndeCateR,
    LeaveOneOut,
    ReDGE,
    ReinMax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.functional import gumbel_noise

Function = Callable[[Tensor], Tensor]
ESTIMATORS: list[Estimator] = [
    GumbelSoftmax(),
    StraightThroughGumbel(),
    GumbelRao(10),
    StraightThrough(),
    ReinMax(),
    GappedStraightThrough(),
    LeaveOneOut(4),
    ContractedReinMax(),
    ReDGE(),
    REBAR(),
    IndeCateR(),
]
TEMPERATURES = (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)


def tasks() -> dict[str, tuple[Tensor, Function, Tensor]]:
    """Name -> (logits, function of samples, exact gradient of its expectation)."""
    generator = torch.Generator().manual_seed(0)
    table = TFBind8()
    oracle: Function = lambda x: table(x.mT)  # noqa: E731
    logits = torch.randn(8, 4, generator=generator)
    leaf = logits.clone().requires_grad_()
    (exact,) = torch.autograd.grad(oracle(torch.softmax(leaf, -1)), leaf)
    found: dict[str, tuple[Tensor, Function, Tensor]] = {"TFBind8": (logits, oracle, exact)}
    matrix, vector = torch.randn(5, 5, generator=generator), torch.randn(5, generator=generator)
    linear: Function = lambda d: d @ vector  # noqa: E731
    quadratic: Function = lambda d: linear(d) + ((d @ matrix) * d).sum(-1)  # noqa: E731
    cubic: Function = lambda d: quadratic(d) + 2 * linear(d) ** 3  # noqa: E731
    small = torch.randn(5, generator=generator)
    for name, function in (("linear", linear), ("quadratic", quadratic), ("cubic", cubic)):
        leaf = small.clone().requires_grad_()
        (exact,) = torch.autograd.grad(torch.softmax(leaf, -1) @ function(torch.eye(5)), leaf)
        found[name] = (small, function, exact)
    return found


def measure(
    estimator: Estimator, tau: float, logits: Tensor, function: Function, exact: Tensor, draws: int
) -> list[float]:
    """[relative bias, standard deviation of one sample / |exact|] from `draws` independent samples in one batch."""
    torch.manual_seed(1)
    leaf = logits.expand(draws, *logits.shape).clone().requires_grad_()
    estimator.expectation(function, leaf, tau).sum().backward()
    samples = leaf.grad
    assert samples is not None
    variance = samples.var(0).sum()
    squared = (samples.mean(0) - exact).square().sum() - variance / draws
    return [float(squared.clamp_min(0).sqrt() / exact.norm()), float(variance.sqrt() / exact.norm())]


def draw_figure(rows: list[dict[str, object]], path: Path) -> None:
    names = list(dict.fromkeys(str(row["task"]) for row in rows))
    figure = Figure(figsize=(4 * len(names), 6.5), layout="constrained")
    axes = figure.subplots(2, len(names), sharex=True)
    for column, task in enumerate(names):
        for line, key in enumerate(("bias", "std")):
            axis, colours = axes[line, column], iter(colormaps["tab20"].colors)  # type: ignore[attr-defined]
            for estimator in dict.fromkeys(str(row["estimator"]) for row in rows):
                points = [row for row in rows if row["task"] == task and row["estimator"] == estimator]
                axis.plot(
                    [p["tau"] for p in points],
                    [p[key] for p in points],
                    marker=".",
                    label=estimator,
                    color=next(colours),
                )
            axis.set(xscale="log", yscale="log" if key == "std" else "linear")
            axis.set_title(f"{task}: {'relative bias' if key == 'bias' else 'std of a sample / |g|'}", fontsize=10)
        axes[1, column].set_xlabel("tau")
    axes[0, -1].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def draws_figure(path: Path) -> None:
    """One draw of the noise, relaxed at three temperatures."""
    logits = torch.tensor([1.0, 0.3, 0.0, -0.5, -1.0])
    perturbed = logits + gumbel_noise(logits.shape, generator=torch.Generator().manual_seed(3))
    figure = Figure(figsize=(11, 2.4), layout="constrained")
    panels = {"softmax(logits)": torch.softmax(logits, -1)}
    panels |= {f"one draw, tau = {tau:g}": torch.softmax(perturbed / tau, -1) for tau in (5.0, 1.0, 0.1)}
    for axis, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axis.bar(range(5), values.numpy(), color="#30638e")
        axis.set(ylim=(0, 1), title=title, xlabel="category")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/estimators"))
    parser.add_argument("--draws", type=int, default=4000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for task, (logits, function, exact) in tasks().items():
        for estimator in ESTIMATORS:
            for tau in TEMPERATURES:
                bias, std = measure(estimator, tau, logits, function, exact, arguments.draws)
                rows.append({"task": task, "estimator": type(estimator).__name__, "tau": tau, "bias": bias, "std": std})
        print(f"{task}: at tau = 1" + "".join(f"\n  {r['estimator']:<22} bias {r['bias']:.3f}  std {r['std']:.2f}"
              for r in rows if r["task"] == task and r["tau"] == 1.0))  # fmt: skip
    with (arguments.out / "bias_variance.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    draw_figure(rows, arguments.out / "bias_variance.png")
    draws_figure(arguments.out / "draws.png")
    print(f"wrote bias_variance.csv, bias_variance.png and draws.png to {arguments.out}")


if __name__ == "__main__":
    main()
