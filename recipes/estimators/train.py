"""The polynomial toy: 128 Bernoulli variables minimise E[mean |b - 0.45|^p], by any estimator.

python recipes/estimators/train.py --estimator ReinMax [--power 2] [--steps 8000]

All zeros are best: 0.45^p. The two choices differ little, so the gradient's bias decides where training ends.
"""

import argparse

import torch

from discrete_lightning import estimators


def main() -> None:
    names = [name for name in estimators.__all__ if name != "Estimator"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", choices=names, default="ReinMax")
    parser.add_argument("--power", type=float, default=2.0)
    parser.add_argument("--tau", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    estimator: estimators.Estimator = getattr(estimators, arguments.estimator)()
    logits = torch.zeros(128, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=1e-3)
    for _ in range(arguments.steps):
        loss = estimator.expectation(
            lambda b: (b - 0.45).abs().pow(arguments.power).mean(-1), logits.expand(64, 128), arguments.tau, binary=True
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    p = torch.sigmoid(logits.detach())
    expected = (p * 0.55**arguments.power + (1 - p) * 0.45**arguments.power).mean().item()
    print(
        f"{arguments.estimator}, p = {arguments.power:g}, {arguments.steps} steps: "
        f"expected loss {expected:.4f}, optimum {0.45**arguments.power:.4f}"
    )


if __name__ == "__main__":
    main()
