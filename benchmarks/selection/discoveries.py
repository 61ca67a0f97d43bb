"""Discoveries at a false discovery rate of .1: a network's importance of columns and knockoffs beside the Lasso's.

20 of 100 Gaussian columns with correlations .5^|i - j| matter, with random signs; 500 rows; u_j are the signed
columns, and e ~ N(0, 1):

    linear           y = .25 sum_j u_j + e
    single index     y = (.25 sum_j u_j)^3 / 2 + e
    sum of tanh      y = sum_{h=1..5} tanh(.4 (u_4h + .. + u_4h+3)) + .7 e
    even             y = .5 sum_j |u_j| + e         (each |u| is a sum of two units relu(u) + relu(-u): a layer, too)

Both importances see the same knockoffs. The Lasso's is that of Candes et al. 2018: the differences of absolute
coefficients, the penalty by cross-validation (scikit-learn's LassoCV). A line tells the mean rate of false
discoveries, with its standard error, and the mean part of the true columns that is found, both over the runs, and how
much more the network finds in the same run. With "nothing", y is e alone: how often nothing is selected.

    python -m benchmarks.selection.discoveries              # 50 runs
    python -m benchmarks.selection.discoveries --runs 5 --problems linear even
"""

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning.selection.paired_importance import paired_importance
from discrete_lightning.selection.statistics import gaussian_knockoffs, knockoff_select

ROWS, COLUMNS, TRUE, RHO, FDR = 500, 100, 20, 0.5, 0.1

PROBLEMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda u, e: 0.25 * u.sum(dim=1) + e,
    "single index": lambda u, e: (0.25 * u.sum(dim=1)) ** 3 / 2 + e,
    "sum of tanh": lambda u, e: torch.tanh(0.4 * u.view(len(u), -1, 4).sum(dim=2)).sum(dim=1) + 0.7 * e,
    "even": lambda u, e: 0.5 * u.abs().sum(dim=1) + e,
    "nothing": lambda u, e: e,
}


def table(problem: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Columns, knockoffs, y, and which columns matter."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(ROWS, COLUMNS, dtype=torch.float64, generator=generator)
    x = noise.clone()
    for j in range(1, COLUMNS):
        x[:, j] = RHO * x[:, j - 1] + math.sqrt(1 - RHO**2) * noise[:, j]
    chosen = torch.randperm(COLUMNS, generator=generator)[:TRUE]
    signs = torch.randint(2, (TRUE,), generator=generator) * 2.0 - 1
    e = torch.randn(ROWS, dtype=torch.float64, generator=generator)
    true = torch.zeros(COLUMNS, dtype=torch.bool)
    if problem != "nothing":
        true[chosen] = True
    return x, gaussian_knockoffs(x, generator=generator), PROBLEMS[problem](x[:, chosen] * signs, e), true


def lasso(x: Tensor, knockoffs: Tensor, y: Tensor) -> Tensor:
    """The Lasso coefficient difference."""
    from sklearn.linear_model import LassoCV

    both = torch.cat([x, knockoffs], dim=1)
    both = (both - both.mean(dim=0)) / both.std(dim=0)
    coefficients = torch.from_numpy(LassoCV(cv=5).fit(both.numpy(), y.numpy()).coef_).abs()
    return coefficients[: x.shape[1]] - coefficients[x.shape[1] :]


def network(x: Tensor, knockoffs: Tensor, y: Tensor) -> Tensor:
    return paired_importance(x, knockoffs, y, "regression")


IMPORTANCES = {"lasso": lasso, "network": network}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    arguments = parser.parse_args()
    runs = arguments.runs
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(f"{runs} runs, {TRUE} true of {COLUMNS}, {ROWS} rows, rate {FDR}")
    for problem in arguments.problems:
        powers: dict[str, list[float]] = {}
        for name, importance in IMPORTANCES.items():
            rates, found, empty, seconds = [], [], 0, 0.0
            for run in range(runs):
                x, knockoffs, y, true = table(problem, run)
                start = time.perf_counter()
                selected = knockoff_select(importance(x, knockoffs, y), FDR)
                seconds += time.perf_counter() - start
                rates.append(float((selected & ~true).sum() / selected.sum().clamp(min=1)))
                found.append(float((selected & true).sum()) / TRUE)
                empty += int(not selected.any())
            powers[name] = found
            error = statistics.stdev(rates) / math.sqrt(runs)
            line = f"{problem:<14}{name:<9}FDR {statistics.mean(rates):.3f} +- {error:.3f}   "
            line += f"power {statistics.mean(found):.3f}   empty {empty:2d} of {runs}   {seconds / runs:.2f} s"
            if name != "lasso":
                more = [a - b for a, b in zip(found, powers["lasso"], strict=True)]
                line += (
                    f"   more power than lasso {statistics.mean(more):+.3f} +- {statistics.stdev(more) / runs**0.5:.3f}"
                )
            print(line, flush=True)


if __name__ == "__main__":
    main()
