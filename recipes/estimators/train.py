"""The polynomial toy: 128 Bernoulli variables minimise E[mean |b - 0.45|^p], by any estimator.

python recipes/estimators/train.py --estimator ReinMax [--power 2] [--steps 8000]
python recipes/estimators/train.py --estimator ReinMax StraightThrough --power 1.5 --seeds 0 1 2

All zeros are best: 0.45^p. The two choices differ little, so the gradient's bias decides where training ends.
"""

import argparse
import statistics

import torch
from torch import Tensor

from discrete_lightning import estimators


def expected_loss(estimator: estimators.Estimator, power: float, tau: float, steps: int, seed: int) -> float:
    """What training reaches, in the expectation over the variables."""
    torch.manual_seed(seed)
    # As published: two logits a variable. An estimator for binary variables only gets their log-odds.
    logits = torch.zeros(128, 2, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=1e-3)

    def loss_of(ones: Tensor) -> Tensor:
        return (ones - 0.45).abs().pow(power).mean(-1)

    for _ in range(steps):
        if estimator.categorical:
            losses = estimator.expectation(lambda d: loss_of(d[..., 1]), logits.expand(64, 128, 2), tau)
        else:
            odds = (logits[:, 1] - logits[:, 0]).expand(64, 128)
            losses = estimator.expectation(loss_of, odds, tau, binary=True)
        loss = losses.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    p = torch.softmax(logits.detach(), -1)[:, 1]
    return (p * 0.55**power + (1 - p) * 0.45**power).mean().item()


def main() -> None:
    names = [name for name in estimators.__all__ if name != "Estimator"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", choices=names, nargs="+", default=["ReinMax"])
    parser.add_argument("--power", type=float, default=2.0)
    parser.add_argument("--tau", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    for name in arguments.estimator:
        estimator: estimators.Estimator = getattr(estimators, name)()
        found = [expected_loss(estimator, arguments.power, arguments.tau, arguments.steps, s) for s in arguments.seeds]
        print(
            f"{name}, p = {arguments.power:g}, {arguments.steps} steps: expected loss {statistics.mean(found):.4f} "
            f"({min(found):.4f} to {max(found):.4f}), optimum {0.45**arguments.power:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
