"""2:4 masks of a character model of Shakespeare's plays, learned by one estimator after the other, against magnitude.

A causal transformer of 2 blocks (d = 64, 4 heads, feed-forward layers of 256, context 64) is trained dense: 48 windows a
step, AdamW, learning rate 3e-3 to 0 by a cosine. Then its weights rest, and the masks of all Linear layers in the blocks are
learned, as in configs/selection/patterns.yaml: Adam, 0.3 to 0 by a cosine; the temperature of GumbelSoftmax falls from 4 to
0.05, that of the others is 1. Reported are nats a character on four plays that nothing was trained on: of the
dense network, of the magnitude mask, of the learned masks (the most likely ones), and the share of the gap that is closed,
(magnitude - learned) / (magnitude - dense). Settings were chosen on another seed and another play (`--split validation`).

A learned mask is a loss, not a speed: a CPU has no kernel for 2:4.

    python -m benchmarks.selection.patterns                                       # 3 seeds of each estimator
    python -m benchmarks.selection.patterns --seeds 0 --estimators ReinMax --split validation
"""

import argparse
import copy
import math
import statistics
import time
import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks._timing import device_name
from discrete_lightning import estimators
from discrete_lightning.data import Shakespeare
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.selection import kept_weight_bonus, mask_linear, remove_masks
from discrete_lightning.selection.networks import GatedTransformer
from discrete_lightning.selection.training import gap_closed

CONTEXT, ROWS, RATE = 64, 48, 3e-3
ESTIMATORS = ("GumbelSoftmax", "ReinMax", "StraightThroughGumbel")
TAU = {"GumbelSoftmax": (4.0, 0.05)}
Split = Literal["validation", "test"]


def batch_of(data: Shakespeare, order: Tensor, step: int) -> tuple[Tensor, Tensor]:
    chosen = order[torch.arange(step * ROWS, (step + 1) * ROWS) % len(order)]
    inputs, targets = data.dataset("train").__getitems__(chosen)
    return inputs.long(), targets.long()


def nats(network: nn.Module, batch: tuple[Tensor, Tensor], reduction: str = "mean") -> Tensor:
    return nn.functional.cross_entropy(network(batch[0]).flatten(0, 1), batch[1].flatten(), reduction=reduction)


def cosine(step: int, steps: int) -> float:
    return (1 + math.cos(math.pi * step / steps)) / 2


def train(network: nn.Module, data: Shakespeare, order: Tensor, steps: int) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * cosine(step, steps)
        loss = nats(network, batch_of(data, order, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def learn(
    network: nn.Module,
    data: Shakespeare,
    order: Tensor,
    steps: int,
    first: int,
    estimator: str,
    rate: float,
    tau: tuple[float, float],
    prior: float,
    kept_weight: float,
) -> nn.Module:
    """A copy of the network with learned masks, its layers plain."""
    masked, temperature = copy.deepcopy(network).train(), Temperature(tau[0])
    made = getattr(estimators, estimator)()
    masks = mask_linear(masked, estimator=made, only="blocks.*", temperature=temperature, prior=prior)
    optimizer = torch.optim.Adam([each.logits for each in masks.values()], lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * cosine(step, steps)
        temperature.set(tau[0] * (tau[1] / tau[0]) ** (step / steps))
        loss = nats(masked, batch_of(data, order, first + step))
        if kept_weight:
            loss = loss - kept_weight * kept_weight_bonus(masked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return remove_masks(masked.eval())


def by_magnitude(network: nn.Module) -> nn.Module:
    masked = copy.deepcopy(network)
    mask_linear(masked, only="blocks.*")
    return remove_masks(masked.eval())


@torch.no_grad()
def measured(network: nn.Module, data: Shakespeare, split: Split) -> float:
    network.eval()
    windows, total, count = data.dataset(split), 0.0, 0
    for start in range(0, len(windows), 128):
        inputs, targets = windows.__getitems__(range(start, min(start + 128, len(windows))))
        total += float(nats(network, (inputs.long(), targets.long()), "sum"))
        count += targets.numel()
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS), help="names of estimators")
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--dense-steps", type=int, default=1_500)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rate", type=float, default=0.3, help="learning rate of the logits")
    parser.add_argument("--tau", type=float, nargs=2, help="temperature, first and last")
    parser.add_argument("--prior", type=float, default=3.0)
    parser.add_argument("--kept-weight", type=float, default=1e-5)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(f"{arguments.dense_steps} dense steps, {arguments.steps} of masks, {arguments.split}, {device_name('cpu')}")
    data = Shakespeare(CONTEXT)
    data.setup()
    found: dict[str, list[float]] = {name: [] for name in arguments.estimators}
    for seed in arguments.seeds:
        torch.manual_seed(seed)
        network, start = GatedTransformer(len(data.vocabulary), CONTEXT, heads=4, gate=None), time.perf_counter()
        order = torch.randperm(len(data.dataset("train")), generator=torch.Generator().manual_seed(seed))
        train(network, data, order, arguments.dense_steps)
        dense = measured(network, data, arguments.split)
        magnitude = measured(by_magnitude(network), data, arguments.split)
        print(
            f"seed {seed}   {'dense':<24}{dense:.4f} nats   magnitude {magnitude:.4f}   "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
        for name in arguments.estimators:
            start = time.perf_counter()
            torch.manual_seed(seed)
            learned = learn(
                network, data, order, arguments.steps, arguments.dense_steps, name, arguments.rate,
                tuple(arguments.tau or TAU.get(name, (1.0, 1.0))), arguments.prior, arguments.kept_weight,
            )  # fmt: skip
            loss = measured(learned, data, arguments.split)
            closed = float(gap_closed(*(torch.tensor(each) for each in (dense, magnitude, loss))))
            found[name].append(closed)
            print(
                f"seed {seed}   {name:<24}{loss:.4f} nats   gap closed {closed:.1%}   {time.perf_counter() - start:.0f} s",
                flush=True,
            )
    for name, shares in found.items():
        print(f"{name:<24}gap closed {statistics.mean(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})")


if __name__ == "__main__":
    main()
