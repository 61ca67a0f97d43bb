"""How good are the methods? Each searches the space of the table; what it finds is looked up there, beside random search.

python -m benchmarks.nas.architecture_regret --data FOLDER    about 30 minutes on one thread; writes (replacing rows of the same
                                               method, seed and settings) benchmarks/nas/results/architecture_regret.csv

A search sees the 3,200 images of the table, half for the weights and half for the architecture, and no validation image.
Regret is the best mean test accuracy of the table minus that of the architecture found, in percent; rank 1 is the best of
125. Random search of equal cost draws as many architectures as could be trained in the processor seconds of the search
(measured in the same run), takes the best in validation by one training each, and has the expected regret of that.

The settings, the same for all methods (but for what a method says of itself), were chosen by GDAS on seeds 20 to 29; what is
reported are seeds 0 to 4.
"""

import argparse
import csv
import logging
import statistics
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from benchmarks.nas.architecture_table import (
    BATCH,
    COLUMNS,
    EPOCHS,
    IMAGES,
    SPACE,
    TABLE,
    VALIDATION,
    splits,
    train,
)
from discrete_lightning.data import FashionMNIST, SearchSplit
from discrete_lightning.data.splits import Split
from discrete_lightning.estimators import Estimator, GumbelRao, LeaveOneOut, ReinMax
from discrete_lightning.models import (
    DARTS,
    GDAS,
    SNAS,
    ArchitectureSearch,
    Sampled,
    SearchMethod,
    SearchOptimizers,
    SecondOrderDARTS,
)
from discrete_lightning.nn import NASBench201
from discrete_lightning.schedules import Linear

METHODS: dict[str, SearchMethod | Estimator] = {
    "GDAS": GDAS(),
    "LeaveOneOut(4)": LeaveOneOut(samples=4),
    "ReinMax": ReinMax(),
    "GumbelRao": Sampled(GumbelRao(samples=10), Linear(10.0, 0.1, steps=1)),
    "SNAS": SNAS(),
    "DARTS": DARTS(),
    "SecondOrderDARTS": SecondOrderDARTS(),
}
RESULT = Path(__file__).parent / "results" / "architecture_regret.csv"
SETTINGS = ["epochs", "architecture_learning_rate", "architecture_delay", "with_none"]
FIELDS = ["method", "seed", *SETTINGS, "architecture", "test", "regret", "rank", "seconds", "trainings", "skips"]
assert COLUMNS[:4] == ["architecture", "seed", "validation", "test"]


class Images(FashionMNIST):
    """The table's training images."""

    def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
        loaded = super().load()
        return {**loaded, "train": tuple(part[:IMAGES] for part in loaded["train"])}  # type: ignore[dict-item]


def read_table() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of architectures, validation and test accuracy in percent, (architectures, seeds)."""
    with TABLE.open() as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["architecture"] for row in rows))
    seeds = sorted({row["seed"] for row in rows})
    found = {(row["architecture"], row["seed"]): row for row in rows}
    values = [[[float(found[n, s][key]) for s in seeds] for n in names] for key in ("validation", "test")]
    return names, 100 * np.array(values[0]), 100 * np.array(values[1])


def random_search(validation: np.ndarray, test: np.ndarray, trainings: int, draws: int = 20_000) -> tuple[float, float]:
    """Mean and standard deviation of the mean test accuracy of what random search takes."""
    random = np.random.default_rng(0)
    drawn = random.integers(len(test), size=(draws, trainings))
    once = validation[drawn, random.integers(validation.shape[1], size=drawn.shape)]
    taken = test.mean(1)[drawn[np.arange(draws), once.argmax(1)]]
    return float(taken.mean()), float(taken.std())


def replace(path: Path, rows: list[dict[str, object]]) -> None:
    """Puts rows where those of the same method, seed and settings were."""

    def key(row: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in ["method", "seed", *SETTINGS])

    old = list(csv.DictReader(path.open())) if path.exists() else []
    known = {key(row) for row in rows}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows([row for row in old if key(row) not in known])
        writer.writerows(rows)


def search(
    method: SearchMethod | Estimator,
    space: NASBench201,
    seed: int,
    folder: str | None,
    epochs: int,
    settings: SearchOptimizers,
) -> ArchitectureSearch:
    seed_everything(seed, verbose=False)
    model = ArchitectureSearch(method, space, optimizers=settings)
    data = SearchSplit(Images(folder=folder, validation=VALIDATION), batch_size=BATCH, seed=seed)
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, data)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with fashion-mnist/ (default: see discrete_lightning.data.MNIST)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--architecture-learning-rate", type=float, default=0.002)
    parser.add_argument("--architecture-delay", type=float, default=0.2)
    parser.add_argument("--with-none", action="store_true", help="search all 125 cells, not only the 64 of live edges")
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    names, validation, test = read_table()
    mean = test.mean(1)
    order = (-mean).argsort()
    best, noise = mean.max(), float(np.sqrt(test.var(1, ddof=1)[order[:20]].mean()))
    searched = np.array([arguments.with_none or "none" not in name for name in names])
    space = SPACE.changed(operations=tuple(each for each in SPACE.operations if each != "none" or searched.all()))
    data = splits(arguments.data)
    print(
        f"best {names[order[0]]} {best:.2f}, noise between seeds of the best 20: {noise:.2f}, median {np.median(mean):.2f}"
    )
    for count in (1, 3, 5, 10, 20, 50):
        print(
            f"random search, {count:3} trainings: regret {best - random_search(validation, test, count)[0]:.2f}, "
            f"of the searched cells {best - random_search(validation[searched], test[searched], count)[0]:.2f}"
        )
    settings = SearchOptimizers(
        learning_rate=0.05,
        architecture_learning_rate=arguments.architecture_learning_rate,
        architecture_delay=arguments.architecture_delay,
    )
    for name in arguments.methods:
        rows: list[dict[str, object]] = []
        for seed in range(arguments.first_seed, arguments.seeds):
            start = time.process_time()  # of this process alone
            network = SPACE.build(names[order[len(order) // 2]].split("|"), 1, 10)
            train(network, data["train"], seed, epochs=1)  # of the median architecture: what a training costs
            training = EPOCHS * (time.process_time() - start)
            start = time.process_time()
            model = search(METHODS[name], space, seed, arguments.data, arguments.epochs, settings)
            seconds = time.process_time() - start
            found = "|".join(model.architecture())
            index = names.index(found)
            rows.append(
                {
                    "method": name,
                    "seed": seed,
                    **{each: getattr(arguments, each) for each in SETTINGS},
                    "architecture": found,
                    "test": f"{mean[index]:.2f}",
                    "regret": f"{best - mean[index]:.2f}",
                    "rank": int(np.flatnonzero(order == index)[0]) + 1,
                    "seconds": f"{seconds:.1f}",
                    "trainings": f"{seconds / training:.1f}",
                    "skips": f"{model.architecture_skip_share():.2f}",
                }
            )
            print(rows[-1], flush=True)
        replace(arguments.result, rows)
        regrets = [float(str(row["regret"])) for row in rows]
        trainings = max(1, round(statistics.mean(float(str(row["trainings"])) for row in rows)))
        print(
            f"{name:<18} regret {statistics.mean(regrets):.2f} +- {statistics.pstdev(regrets):.2f}, ranks "
            f"{sorted(int(str(row['rank'])) for row in rows)}, cost {trainings} trainings; random search of that cost "
            f"{best - random_search(validation[searched], test[searched], trainings)[0]:.2f}, of 10 trainings "
            f"{best - random_search(validation[searched], test[searched], 10)[0]:.2f}, "
            f"among all cells {best - random_search(validation, test, 10)[0]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
