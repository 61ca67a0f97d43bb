"""Pruning a convolutional network to a share of its FLOPs: gates trained with a budget, torch-pruning, and narrower networks.

All are trained on the same batches for the same number of steps, by Adam whose learning rate falls by one cosine:

    ours        gates and network together; the target falls, is decided and held, and what is left is trained on
    magnitude   dense, then pruned by the norm of each layer's groups (torch-pruning, the same share in all layers), trained on
    global      the same, the smallest groups of all layers together
    bn scale    dense with a penalty on BatchNorm's scales (Liu et al. 2017), the smallest scales of all layers, trained on
    narrow      all layers narrower by one factor, trained from scratch

FLOPs are counted on the networks that are left. Settings were chosen on MNIST (`--data MNIST`), figures are of Fashion-MNIST.

    pip install torch-pruning==1.6.1
    python -m benchmarks.selection.pruning
"""

import argparse
import copy
import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning import data as datasets
from discrete_lightning.nn import GatedConvNet
from discrete_lightning.selection import BudgetController, NetworkCost, count_flops, derive

WIDTHS = (16, 32, 64)
BATCH = 128
SHARES = (0.5, 0.3, 0.15)
LEARNING_RATE = 3e-3
EXAMPLE = torch.zeros(1, 1, 14, 14)
SHAPE = (1, 14, 14)


@dataclass(frozen=True)
class Data:
    """Images of half the size, in memory."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def batches(self, steps: int, seed: int) -> list[Tensor]:
        """Rows of each step."""
        generator = torch.Generator().manual_seed(seed)
        epoch = len(self.images) // BATCH
        found: list[Tensor] = []
        while len(found) < steps:
            order = torch.randperm(len(self.images), generator=generator)
            found += list(order[: epoch * BATCH].view(epoch, BATCH))
        return found[:steps]


def load(name: str, count: int) -> Data:
    """A data set of the package; `count` of its training images."""
    module = getattr(datasets, name)(batch_size=500, **({} if name == "Digits" else {"validation": 0}))
    module.prepare_data()
    module.setup()
    parts = []
    for loader in (module.train_dataloader(), module.test_dataloader()):
        batches = list(loader)
        images = nn.functional.avg_pool2d(torch.cat([each[0] for each in batches]), 2)
        parts += [images, torch.cat([each[1] for each in batches])]
    return Data((parts[0][:count] - 0.3) / 0.35, parts[1][:count], (parts[2] - 0.3) / 0.35, parts[3])


class Run:
    """One training: the steps that are over, with a learning rate that falls to 0 at the last.

    Args:
        data: to train on.
        steps: of the whole run.
        seed: of the batches.
    """

    def __init__(self, data: Data, steps: int, seed: int) -> None:
        self.data, self.steps, self.rows, self.done = data, steps, data.batches(steps, seed), 0

    def train(
        self, model: nn.Module, until: int, step: Callable[[float], None] = lambda _: None, factor: float = 10.0
    ) -> None:
        """Trains up to step `until`; `step(share of the run)` is called between backward and the step of the optimiser."""
        model.train()
        gates = [each for name, each in model.named_parameters() if name.endswith(("logits", "log_alpha", "mu"))]
        known = {id(each) for each in gates}
        others = [each for each in model.parameters() if id(each) not in known]
        groups: list[dict[str, Any]] = [{"params": others, "factor": 1.0}, {"params": gates, "factor": factor}]
        optimizer = torch.optim.Adam(groups, lr=LEARNING_RATE)
        for rows in self.rows[self.done : until]:
            share = self.done / self.steps
            for group in optimizer.param_groups:
                warm = min(1.0, (self.done + 1) / 50)
                group["lr"] = group["factor"] * LEARNING_RATE * warm * (1 + math.cos(math.pi * share)) / 2
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(self.data.images[rows]), self.data.labels[rows]).backward()
            step(share)
            optimizer.step()
            self.done += 1


@torch.no_grad()
def accuracy(model: nn.Module, data: Data) -> float:
    """Of the test images, in percent."""
    model.eval()
    right = sum(
        int((model(images).argmax(-1) == labels).sum())
        for images, labels in zip(data.test_images.split(1000), data.test_labels.split(1000), strict=True)
    )
    return 100 * right / len(data.test_labels)


def network(widths: tuple[int, ...], seed: int, gate: Any = None, **options: Any) -> GatedConvNet:
    """The network, with gates if `gate` is given."""
    torch.manual_seed(seed)
    return GatedConvNet(widths, gate, options=options, image_shape=SHAPE)


def ours(
    data: Data, steps: int, seed: int, share: float, gate: str, start: float, end: float, settle: float, factor: float,
    per: str, proportional: float, options: dict[str, float],
) -> nn.Module:  # fmt: skip
    """Gates with a budget, in one run."""
    model = network(WIDTHS, seed, gate, per=per, **options)
    run = Run(data, steps, seed)
    controller = BudgetController(
        share, cost=NetworkCost(model, EXAMPLE), start=start, end=end, settle=settle, proportional=proportional
    )
    run.train(model, int(steps * settle), lambda done: controller.add_gradient(model, done), factor)
    controller.decide(model, 1.0)
    derived = derive(model, EXAMPLE)
    run.train(derived, steps)
    return derived


def dense_flops() -> float:
    """FLOPs of the network before pruning."""
    return count_flops(network(WIDTHS, 0), EXAMPLE)


def even_widths(share: float) -> tuple[int, ...]:
    """WIDTHS times one factor, and then a channel or two more in some layers, as near to the share of the FLOPs as fits."""
    limit = share * dense_flops()

    def cost(widths: tuple[int, ...]) -> float:
        return count_flops(network(widths, 0), EXAMPLE)

    factors = (factor / 100 for factor in itertools.count(100, -1))
    tried = (tuple(max(1, round(each * factor)) for each in WIDTHS) for factor in factors)
    start = next(each for each in tried if cost(each) <= limit)
    more = [tuple(a + b for a, b in zip(start, extra, strict=True)) for extra in itertools.product(range(3), repeat=3)]
    return max((each for each in more if cost(each) <= limit), key=cost)


def pruned(model: nn.Module, kind: str, share: float) -> nn.Module:
    """By torch-pruning, to at most the share of the FLOPs and as near to it as its ratios can reach."""
    import torch_pruning as tp

    limit = share * dense_flops()

    def attempt(**ratios: Any) -> nn.Module:
        twin = copy.deepcopy(model).eval()
        importance = (
            tp.importance.BNScaleImportance() if kind == "bn scale" else tp.importance.GroupMagnitudeImportance(p=2)
        )
        if "widths" in ratios:
            convs = [each for each in twin.modules() if isinstance(each, nn.Conv2d)]
            removed = [1 - a / b - 1e-6 for a, b in zip(ratios.pop("widths"), WIDTHS, strict=True)]
            ratios = {"pruning_ratio": 0.5, "pruning_ratio_dict": dict(zip(convs, removed, strict=True))}
        tp.pruner.MagnitudePruner(
            twin, EXAMPLE, importance, global_pruning=kind != "magnitude", ignored_layers=[twin.head],
            max_pruning_ratio=0.95, **ratios,
        ).step()  # fmt: skip
        return twin

    if kind == "magnitude":
        return attempt(widths=even_widths(share))
    low, high, best = 0.0, 0.99, None
    for _ in range(12):
        ratio = (low + high) / 2
        twin = attempt(pruning_ratio=ratio)
        if count_flops(twin, EXAMPLE) <= limit:
            best, high = twin, ratio
        else:
            low = ratio
    assert best is not None
    return best


def peer(
    data: Data, steps: int, seed: int, kind: str, after: float, penalty: float, shares: Sequence[float]
) -> Iterator[nn.Module]:
    """Dense for the share `after` of the steps, then for each budget pruned and trained on."""
    model, run = network(WIDTHS, seed), Run(data, steps, seed)

    def sparsify(_: float) -> None:
        for each in model.modules():
            if isinstance(each, nn.BatchNorm2d):
                each.weight.grad += penalty * each.weight.detach().sign()  # type: ignore[operator]

    run.train(model, int(steps * after), sparsify if kind == "bn scale" else lambda _: None)
    done = run.done
    for share in shares:
        smaller = pruned(model, kind, share)
        run.done = done
        run.train(smaller, steps)
        yield smaller


def narrow(data: Data, steps: int, seed: int, share: float) -> nn.Module:
    """All layers narrower by one factor, from scratch."""
    model = network(even_widths(share), seed)
    Run(data, steps, seed).train(model, steps)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="FashionMNIST")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=468)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--options", nargs="*", default=[], help="of the gates, as name=number")
    parser.add_argument("--methods", nargs="+", default=["dense", "ours", "magnitude", "global", "bn scale", "narrow"])
    parser.add_argument("--gate", default="hard_concrete")
    parser.add_argument("--per", default="row")
    parser.add_argument("--start", type=float, default=0.02)
    parser.add_argument("--end", type=float, default=0.2)
    parser.add_argument("--settle", type=float, default=0.2)
    parser.add_argument("--proportional", type=float, default=1.0)
    parser.add_argument("--factor", type=float, default=30.0)
    parser.add_argument("--after", type=float, default=0.15)
    parser.add_argument("--penalty", type=float, default=1e-3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    data, dense = load(given.data, given.images), dense_flops()
    schedule = {
        name: getattr(given, name) for name in ("gate", "start", "end", "settle", "factor", "per", "proportional")
    }
    schedule["options"] = {name: float(value) for name, value in (each.split("=") for each in given.options)}
    print(f"{given.data}, {len(data.images)} images, {given.steps} steps of {BATCH}; {schedule}; after {given.after}")
    found: dict[str, list[list[float]]] = {}
    for method in given.methods:
        for seed in given.seeds:
            began = time.process_time()
            models: list[nn.Module] = []
            if method == "dense":
                models = [network(WIDTHS, seed)]
                Run(data, given.steps, seed).train(models[0], given.steps)
            elif method == "ours":
                models = [ours(data, given.steps, seed, share, **schedule) for share in given.shares]
            elif method == "narrow":
                models = [narrow(data, given.steps, seed, share) for share in given.shares]
            else:
                models = list(peer(data, given.steps, seed, method, given.after, given.penalty, given.shares))
            found.setdefault(method, []).append([accuracy(each, data) for each in models])
            shares = [f"{count_flops(each, EXAMPLE) / dense:.3f}" for each in models]
            values = " ".join(f"{each:.2f}" for each in found[method][-1])
            widths = [[c.out_channels for c in m.modules() if isinstance(c, nn.Conv2d)] for m in models]
            seconds = f"{time.process_time() - began:.0f} s"
            print(f"{method:<10} seed {seed}  {values}  FLOPs {' '.join(shares)}  {widths}  {seconds}", flush=True)
    print(
        "\nmean accuracy in % at "
        + ", ".join(f"{share:.0%}" for share in given.shares)
        + " of the FLOPs, and their mean"
    )
    for method, runs in found.items():
        means = [statistics.mean(each) for each in zip(*runs, strict=True)]
        print(f"{method:<10} {'  '.join(f'{each:.2f}' for each in means)}   {statistics.mean(means):.2f}")


if __name__ == "__main__":
    main()
