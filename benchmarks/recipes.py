"""Shipped configs as `discrete-lightning fit` runs them, over seeds: mean of each test figure, and the lowest and highest seed.

python -m benchmarks.recipes vq/mnist_ema nas/quickstart [--seeds 1 2 3]
python -m benchmarks.recipes vq/mnist_ema --seeds 1 --options --trainer.limit_train_batches 100

A config runs as README's table says (the MNIST ones for one epoch, for example). The search of `nas` and the pruning of
`selection/prune` go on with the `retrain.yaml` that they wrote; its figures are marked so.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """A config, the options that README's figure was measured with (`{seed}` is the seed), and whether it is retrained."""

    config: str
    options: str = ""
    retrain: bool = False


EPOCH = "--trainer.max_epochs 1"
LEARNED = "vq/learned_temperature"
FIVE_EPOCHS = "--trainer.max_epochs 5 --model.bound_samples 100"
RECIPES = {
    "vq/quickstart": Recipe("vq/quickstart"),
    **{
        f"{LEARNED}, bonus {bonus}": Recipe(LEARNED, f"--model.choice_entropy {bonus}")
        for bonus in ("0", "1e-3", "1e-2")
    },
    "vq/mnist_ema": Recipe("vq/mnist_ema", EPOCH),
    **{
        name: Recipe(name, EPOCH)
        for name in ("vq/mnist_gumbel", "vq/fashion_gumbel", "vq/fashion_wav2vec2", "vq/mnist_fsq")
    },
    "vq/mnist_lookup_free": Recipe("vq/mnist_lookup_free", EPOCH),
    "vq/fashion_residual": Recipe("vq/fashion_residual", EPOCH),
    "vq/fashion_dvae": Recipe("vq/fashion_dvae", EPOCH),
    "vae/mnist_binary": Recipe("vae/mnist_binary", FIVE_EPOCHS),
    "vae/mnist_categorical": Recipe("vae/mnist_categorical", FIVE_EPOCHS),
    "vae/mnist_categorical, StraightThroughGumbel": Recipe(
        "vae/mnist_categorical", f"{FIVE_EPOCHS} --model.estimator StraightThroughGumbel"
    ),
    "nas/quickstart": Recipe("nas/quickstart", retrain=True),
    "nas/target": Recipe("nas/target", retrain=True),
    "design/edit": Recipe("design/edit"),
    "routing/quickstart": Recipe("routing/quickstart"),
    "selection/quickstart": Recipe("selection/quickstart", "--data.seed {seed}"),
    "selection/digits": Recipe("selection/digits", "--data.seed {seed}"),
    "selection/prune": Recipe("selection/prune", retrain=True),
    "text/quickstart": Recipe("text/quickstart"),
    "text/shakespeare": Recipe("text/shakespeare"),
    "control/quickstart": Recipe("control/quickstart"),
    "control/learned_temperature": Recipe("control/learned_temperature"),
}


def figures(folder: Path) -> dict[str, float]:
    """The test figures of a run, and the last learned temperature."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        key: float(row[key]) for row in rows for key in row if row[key] and key.startswith(("test/", "temperature"))
    }


def fit(config: str, folder: Path, options: list[str]) -> dict[str, float]:
    program = Path(sys.executable).with_name("discrete-lightning")
    command = [
        str(program),
        "fit",
        "-c",
        config,
        "--run_dir",
        str(folder),
        *options,
        "--trainer.enable_progress_bar",
        "false",
    ]
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return figures(folder)


def run(recipe: Recipe, seed: int, options: list[str]) -> dict[str, float]:
    """What one run tested, and what the retrained network did."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [*recipe.options.format(seed=seed).split(), "--seed_everything", str(seed), *options]
        found = fit(recipe.config, folder / "run", given)
        if recipe.retrain:
            again = fit(str(folder / "run" / "retrain.yaml"), folder / "retrained", ["--seed_everything", str(seed)])
            found |= {f"retrained {key}": value for key, value in again.items()}
    return found


def line(name: str, values: list[float]) -> str:
    """Mean, lowest, highest, and each seed."""
    each = ", ".join(f"{value:.6g}" for value in values)
    return f"  {name:<40} {statistics.mean(values):.5g} ({min(values):.5g} to {max(values):.5g})   each {each}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=list(RECIPES), metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="all that follows goes to `fit`")
    arguments = parser.parse_args()
    for name in arguments.names:
        print(f"{name}, seeds {arguments.seeds}", flush=True)
        runs = [run(RECIPES[name], seed, arguments.options) for seed in arguments.seeds]
        for key in sorted({key for each in runs for key in each}):
            print(line(key, [each[key] for each in runs if key in each]), flush=True)


if __name__ == "__main__":
    main()
