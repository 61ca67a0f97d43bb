"""AdaptiveTemperature with its defaults beside nine fixed schedules, on short trainings of several families.

python -m benchmarks.adaptive_temperature [--only vae] [--seeds 0 1 2]

Each training is a Lightning fit of 300 to 400 steps on one thread; its figure is of the discrete model on data that
it has not seen, lower is better. Schedules go over the whole run, within 0.1 to 2, and were written down before the
first run; the settings of AdaptiveTemperature were chosen on other problems (MNIST, and columns planted in random
numbers). Its overhead is the processor time of its measurements as a share of the rest of the same fit, there and at
the sizes of shipped configs. The last line of a table says whether its mean is within one standard error (of the best
schedule's mean) of the best schedule, and its rank among the ten.
"""

import argparse
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from discrete_lightning.callbacks import AdaptiveTemperature, TemperatureAnnealing
from discrete_lightning.data import FashionMNIST
from discrete_lightning.estimators import GumbelSoftmax, StraightThroughGumbel
from discrete_lightning.models import CategoricalVAE, RoutedNetwork, VQAutoencoder
from discrete_lightning.nn import ConcreteSelector, GumbelQuantizer
from discrete_lightning.routing.training.feed_forward import MixtureFeedForward
from discrete_lightning.schedules import Constant, Cosine, Exponential, Linear, Schedule

SCHEDULES: dict[str, Schedule] = {
    "constant 0.3": Constant(0.3),
    "constant 1": Constant(1.0),
    "constant 2": Constant(2.0),
    "linear 2 to 0.5": Linear(2.0, 0.5, steps=1),
    "linear 1 to 0.1": Linear(1.0, 0.1, steps=1),
    "linear 2 to 0.1": Linear(2.0, 0.1, steps=1),
    "exponential 2 to 0.1": Exponential(2.0, math.log(20.0), 0.1),
    "exponential 1 to 0.3": Exponential(1.0, math.log(1 / 0.3), 0.3),
    "cosine 2 to 0.2": Cosine(2.0, 0.2, steps=1),
}
ADAPTIVE = "AdaptiveTemperature"


class Batches(IterableDataset[Any]):
    """Shuffled batches without end.

    Args:
        tensors: each with one row an example.
        size: examples of a batch.
        seed: of the order.
    """

    def __init__(self, tensors: list[Tensor], size: int, seed: int) -> None:
        self.tensors, self.size, self.seed = tensors, size, seed

    def __iter__(self) -> Iterator[list[Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        rows = len(self.tensors[0])
        while True:
            order = torch.randperm(rows, generator=generator)
            for start in range(0, rows - self.size + 1, self.size):
                yield [each[order[start : start + self.size]] for each in self.tensors]


class ConcreteAutoencoder(LightningModule):
    """k pixels from which a network restores all (Balin et al. 2019, https://arxiv.org/abs/1901.09346)."""

    def __init__(self, k: int = 20, size: int = 784) -> None:
        super().__init__()
        self.select = ConcreteSelector(k, size)
        self.restore = nn.Sequential(nn.Linear(k, 256), nn.ReLU(), nn.Linear(256, size))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return (self.restore(self.select(batch[0])) - batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        rates = [
            {"params": self.select.parameters(), "lr": 5e-2},
            {"params": self.restore.parameters(), "lr": 3e-3},
        ]
        return torch.optim.Adam(rates)


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and its figure.

    Attributes:
        figure: what the table shows.
        make: the module, for the random state as it is.
        train: tensors of training, one row an example.
        test: the same of examples that are not trained on.
        judge: (module in eval(), test) to the figure.
        batch, steps: examples of a batch, steps of the fit.
        maximum: of AdaptiveTemperature, where it is not the default.
    """

    figure: str
    make: Callable[[], LightningModule]
    train: list[Tensor]
    test: list[Tensor]
    judge: Callable[[Any, list[Tensor]], Tensor]
    batch: int
    steps: int
    maximum: float = 2.0


def fashion(rows: int) -> list[Tensor]:
    """The first training and test images of Fashion-MNIST, float32 (rows, 1, 28, 28) in [0, 1]."""
    data = FashionMNIST()
    data.prepare_data()
    found = data.load()
    splits = [found["train"][0], found["test"][0]]
    return [each[:rows].view(-1, 1, 28, 28).float() / (255 if each.dtype == torch.uint8 else 1) for each in splits]


def vae(estimator: Any, maximum: float) -> Recipe:
    """10 latents of 10 categories, binarised Fashion-MNIST."""
    generator = torch.Generator().manual_seed(1)
    train, test = (torch.bernoulli(each, generator=generator) for each in fashion(4000))

    def judge(model: CategoricalVAE, test: list[Tensor]) -> Tensor:
        logits = model.logits(test[0])
        draws = [model.negative_log_likelihood(model.draw(logits, None), test[0]).mean() for _ in range(3)]
        return torch.stack(draws).mean() + model.kl(logits).mean()

    def make() -> LightningModule:
        return CategoricalVAE(10, 10, estimator=estimator, hidden=[512, 256], learning_rate=1e-3)

    return Recipe("negative ELBO, nats", make, [train], [test[:2000]], judge, batch=128, steps=400, maximum=maximum)


def vq() -> Recipe:
    """A Gumbel-softmax codebook of 64 codes on Fashion-MNIST at 16 x 16."""
    train, test = (nn.functional.avg_pool2d(nn.functional.pad(each, (2, 2, 2, 2)), 2) for each in fashion(2000))

    def make() -> LightningModule:
        return VQAutoencoder(GumbelQuantizer(64, 16), estimator=GumbelSoftmax(), hidden=24, learning_rate=2e-3)

    def judge(model: VQAutoencoder, test: list[Tensor]) -> Tensor:
        return 1e3 * model.reconstruction_error(model(test[0]).images, test[0]).mean()

    return Recipe("1000 x squared error", make, [train], [test[:1000]], judge, batch=128, steps=300)


def selection() -> Recipe:
    """20 of 784 pixels of Fashion-MNIST, from which the others are restored."""
    train, test = (each.flatten(1) for each in fashion(6000))

    def judge(model: ConcreteAutoencoder, test: list[Tensor]) -> Tensor:
        return 1e3 * (model.restore(model.select(test[0])) - test[0]).square().mean()

    return Recipe("1000 x squared error", ConcreteAutoencoder, [train], [test], judge, batch=512, steps=400)


def routing() -> Recipe:
    """Four planted linear experts, a mixture that mixes them by relaxed samples."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(20_000, 8, generator=generator)
    region = (x @ torch.randn(8, 4, generator=generator)).argmax(1)
    maps = torch.randn(4, 8, 8, generator=generator) / 8**0.5
    y = torch.einsum("nij,nj->ni", maps[region], x)

    def make() -> LightningModule:
        return RoutedNetwork(
            inputs=8,
            outputs=8,
            feed_forward=MixtureFeedForward(
                count=4, k=1, hidden=8, activation="identity", router=GumbelSoftmax(), tokens="independent"
            ),
            task="regression",
            head=False,
            learning_rate=1e-2,
        )

    def judge(model: RoutedNetwork, test: list[Tensor]) -> Tensor:
        return (model(test[0]) - test[1]).square().mean()

    return Recipe(
        "squared error", make, [x[:16_384], y[:16_384]], [x[16_384:], y[16_384:]], judge, batch=4096, steps=400
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "vae": lambda: vae(GumbelSoftmax(), 2.0),
    "vq": vq,
    "selection": selection,
    "routing": routing,
    "vae, straight-through": lambda: vae(StraightThroughGumbel(), 1.0),
}


def shipped_vae() -> Recipe:
    """The sizes of vae/mnist_categorical, but for the number of images."""

    def make() -> LightningModule:
        return CategoricalVAE(20, 10, estimator=GumbelSoftmax(), hidden=[512, 256])

    return replace(vae(GumbelSoftmax(), 2.0), make=make, batch=100, steps=210)


def shipped_vq() -> Recipe:
    """The sizes of vq/quickstart, but for the number of images."""

    def make() -> LightningModule:
        return VQAutoencoder(GumbelQuantizer(128, 64), estimator=StraightThroughGumbel(), hidden=32)

    train, test = fashion(2000)
    return replace(vq(), make=make, train=[train], test=[test[:200]], batch=64, steps=210)


SHIPPED = {"vae/mnist_categorical": shipped_vae, "vq/quickstart": shipped_vq}


class Timed(AdaptiveTemperature):
    """Sums the processor time of its measurements."""

    seconds = 0.0
    measurements = 0

    def _measure(self, *arguments: Any) -> None:
        start = time.process_time()
        super()._measure(*arguments)
        self.seconds += time.process_time() - start
        self.measurements += 1


def run(recipe: Recipe, seed: int, callback: Callback) -> tuple[float, float]:
    """The figure of one fit, and the processor time of it."""
    seed_everything(seed, verbose=False)
    model = recipe.make()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=recipe.steps,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader(Batches(recipe.train, recipe.batch, seed), batch_size=None)
    start = time.process_time()
    trainer.fit(model, loader)
    seconds = time.process_time() - start
    torch.manual_seed(0)
    with torch.no_grad():
        return float(recipe.judge(model.eval(), recipe.test)), seconds


def error(values: list[float]) -> float:
    """The standard error of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5


def table(name: str, recipe: Recipe, seeds: list[int]) -> None:
    """Prints a recipe's ten rows, best first, and what follows for AdaptiveTemperature."""
    figures: dict[str, list[float]] = {}
    for label, schedule in SCHEDULES.items():
        figures[label] = [
            run(recipe, seed, TemperatureAnnealing(schedule, count="progress", log=False))[0] for seed in seeds
        ]
    overheads, figures[ADAPTIVE], last = [], [], []
    for seed in seeds:
        callback = Timed(maximum=recipe.maximum)
        figure, seconds = run(recipe, seed, callback)
        figures[ADAPTIVE].append(figure)
        overheads.append(callback.seconds / (seconds - callback.seconds))
        last.append(callback.control.tau)
    print(f"\n{name}: {recipe.figure}, {recipe.steps} steps, seeds {', '.join(map(str, seeds))}")
    ranked = sorted(figures, key=lambda label: statistics.mean(figures[label]))
    for label in ranked:
        values = figures[label]
        each = "  ".join(f"{value:.3f}" for value in values)
        print(f"  {label:<22}{statistics.mean(values):9.3f} +- {error(values):.3f}   ({each})")
    best = next(label for label in ranked if label != ADAPTIVE)
    distance = statistics.mean(figures[ADAPTIVE]) - statistics.mean(figures[best])
    verdict = "within" if distance <= error(figures[best]) else "NOT within"
    print(
        f"  {ADAPTIVE}: rank {ranked.index(ADAPTIVE) + 1} of {len(ranked)}; {distance:+.3f} from {best}, {verdict} its "
        f"standard error {error(figures[best]):.3f}; tau at the end {min(last):.2f} to {max(last):.2f}; overhead "
        f"{100 * statistics.median(overheads):.2f} % (at most {100 * max(overheads):.2f} %)",
        flush=True,
    )


def overhead(name: str, recipe: Recipe) -> None:
    """Prints what the measurements of one fit cost."""
    callback = Timed()
    _, seconds = run(recipe, 0, callback)
    step, one = (seconds - callback.seconds) / recipe.steps, callback.seconds / callback.measurements
    print(
        f"  {name:<22}step {1e3 * step:6.1f} ms   measurement {1e3 * one:6.1f} ms   overhead "
        f"{100 * callback.seconds / (seconds - callback.seconds):.2f} %",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(RECIPES), default=list(RECIPES), help="none: overhead alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name in arguments.only:
        table(name, RECIPES[name](), arguments.seeds)
    print("\noverhead at the sizes of shipped configs")
    for name, make in SHIPPED.items():
        overhead(name, make())


if __name__ == "__main__":
    main()
