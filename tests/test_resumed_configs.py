"""A run of each family, cut in the middle of an epoch and resumed by the command line, is the uncut run.

benchmarks.reliability.kill does the same with kills at random moments.
"""

import csv
from pathlib import Path

import pytest

from benchmarks.reliability._runs import content, differing
from discrete_lightning.cli import main
from tests.small_mnist import few_batches, write_small_mnist

# each has a state of its own in mid-epoch: counts of codes, a text's hidden state, a budget, environments
QUICK = ("vq/quickstart", "text/quickstart", "selection/prune", "control/quickstart")
SLOW = (
    "vae/mnist_binary",
    "routing/quickstart",
    "nas/quickstart",
    "design/quickstart",
    "text/judge",
    "control/taxi",
    "vq/fashion_residual",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_mnist(tmp_path_factory.mktemp("data"))


@pytest.mark.filterwarnings(
    "ignore:.*skip connections",
    "ignore:the choices are still undecided",
    "ignore:the derived",
    "ignore:.*has collapsed",
)
@pytest.mark.parametrize("config", [*QUICK, *(pytest.param(each, marks=pytest.mark.slow) for each in SLOW)])
def test_a_run_cut_in_mid_epoch_is_the_uncut_run(config: str, data: Path, tmp_path: Path) -> None:
    compare_cut_and_uncut(config, data, tmp_path)


def test_a_temperature_that_steers_itself_goes_on(data: Path, tmp_path: Path) -> None:
    steered = ["--temperature.schedule=null", "--trainer.callbacks+=AdaptiveTemperature", "--trainer.callbacks.every=1"]
    taus = compare_cut_and_uncut("vae/mnist_binary", data, tmp_path, *steered)
    assert len(set(taus)) > 2


def compare_cut_and_uncut(config: str, data: Path, tmp_path: Path, *more: str) -> list[str]:
    """The uncut run's logged temperatures."""
    options = [
        *more,
        *few_batches(config, data, tmp_path),
        "--trainer.max_epochs=2",
        "--trainer.num_sanity_val_steps=0",
        "--trainer.callbacks+=tests.training.resumed_module.EveryMoment",
        "--trust=tests",
    ]
    if config.startswith("design"):
        options.remove("--trainer.num_sanity_val_steps=0")
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    kept = f"--trainer.callbacks.folder={tmp_path}/kept"
    assert main(["fit", "-c", config, *options, f"{kept}1", f"--run_dir={whole}"]) == 0
    cuts = sorted((tmp_path / "kept1").glob("*between.ckpt"))
    again = ["fit", "-c", config, *options, f"{kept}2", f"--run_dir={resumed}", f"--ckpt_path={cuts[-2]}"]
    assert main(again) == 0
    ends = [content(run / "checkpoints" / "last.ckpt") for run in (whole, resumed)]
    assert [name for name in differing(*ends) if "EveryMoment" not in name] == []
    with (whole / "metrics.csv").open() as file:
        return [row["temperature"] for row in csv.DictReader(file) if row.get("temperature")]
