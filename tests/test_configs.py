"""Every config that ships: parsed, built and run for a few batches, in the three ways people run them."""

import socket
from pathlib import Path

import pytest
import torch

from discrete_lightning.catalog import config_root, describe
from discrete_lightning.cli import main
from tests.all_configs import run_all
from tests.ranks import run_on_ranks
from tests.small_mnist import CONFIGS, few_batches, write_small_mnist

# three batches are too few for a search to decide, and it says so
_SHORT = pytest.mark.filterwarnings(
    "ignore:the choices are still undecided", "ignore:.* skip connections", "ignore:the derived network"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_mnist(tmp_path_factory.mktemp("data"))


# what the runs of a family write, beside metrics.csv and the checkpoint
WRITTEN: dict[str, tuple[str, ...]] = {
    "vq": ("reconstructions.png",),
    "vq/semantic_ids": (),
    "vq/speech": ("sounds/1-original.wav", "sounds/1-stages-8.wav"),
    "vae": ("reconstructions.png",),
    "nas": ("architecture.json", "retrain.yaml"),
    "design": ("designs.csv", "designs.fasta", "logo.png", "trajectory.png"),
    "routing": ("experts.png", "load.png"),
    "selection": ("gates.png",),
    "selection/patterns": (),
    "control": ("curves.png",),
    "control/quickstart": ("curves.png", "episode.gif", "episode.png"),
    "control/learned_temperature": ("temperature.csv", "temperature.png"),
}


def is_design(config: str) -> bool:
    return config.startswith("design/")


def only_run(root: Path) -> Path:
    folders = [path.parent for path in root.rglob("config.yaml")]
    assert len(folders) == 1, folders
    return folders[0]


def test_the_configs_of_sequence_design_are_there() -> None:
    assert {
        "design/quickstart",
        "design/edit",
        "design/front",
        "design/two_oracles",
        "design/black_box",
        "design/gb1",
    } <= set(CONFIGS)


def test_the_configs_of_the_foundation_are_there() -> None:
    expected = {"vq/quickstart", "vq/mnist_gumbel", "vq/mnist_ema", "vq/fashion_gumbel"}
    assert expected | {"vae/mnist_categorical", "vae/mnist_binary"} <= set(CONFIGS)


@pytest.mark.parametrize("config", CONFIGS)
def test_first_line_describes_the_config(config: str) -> None:
    assert len(describe(config_root() / f"{config}.yaml")) > 20


@_SHORT
@pytest.mark.parametrize("config", CONFIGS)
def test_runs_as_it_stands(config: str, data: Path, tmp_path: Path) -> None:
    assert main(["fit", "-c", config, *few_batches(config, data, tmp_path)]) == 0
    run = only_run(tmp_path)
    assert (run / "metrics.csv").stat().st_size
    assert (run / "checkpoints" / "last.ckpt").exists()
    assert all((run / name).stat().st_size for name in WRITTEN.get(config, WRITTEN.get(config.partition("/")[0], ())))


@_SHORT
@pytest.mark.parametrize("config", CONFIGS)
def test_runs_in_true_bfloat16(config: str, data: Path, tmp_path: Path) -> None:
    options = [*few_batches(config, data, tmp_path, batches=2), "--trainer.precision=bf16-true"]
    assert main(["fit", "-c", config, *options]) == 0
    state = torch.load(only_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    dtypes = {key: value.dtype for key, value in tensors.items() if value.is_floating_point()}
    if is_design(config):
        own = {dtype for key, dtype in dtypes.items() if key != "anchor"}  # the oracle's, too: designs are ranked by it
        assert own <= {torch.float32, torch.float64}, dtypes
        return
    weights = {key: dtype for key, dtype in dtypes.items() if key.endswith(".weight") and "router." not in key}
    of_table = config in ("selection/quickstart", "selection/digits", "selection/table", "control/learned_temperature")
    assert set(weights.values()) == (set() if of_table else {torch.bfloat16}), weights
    statistics = (
        ("codes", "counts", "sums")
        if config in ("vq/mnist_ema", "vq/fashion_large", "vq/speech", "vq/semantic_ids")
        else ()
    )
    kept = [key for key in dtypes if key.endswith((".value", "logits", ".log_alpha", ".mu", ".raw", *statistics))]
    assert kept or config in ("text/quickstart", "text/shakespeare", "text/verse", "text/optimise")  # nothing to keep
    assert {dtypes[key] for key in kept} <= {torch.float32}, kept


@pytest.mark.parametrize("part", [0, 1])
def test_all_run_on_two_ranks_under_bf16_mixed(data: Path, tmp_path: Path, part: int) -> None:
    configs = CONFIGS[part::2]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first, second = run_on_ranks(run_all, str(data), str(tmp_path), port, configs, seconds=280)
    for config in configs:
        run = only_run(tmp_path / config.replace("/", "-"))  # one folder for both ranks
        assert (run / "metrics.csv").stat().st_size
    assert len(first) == len(configs)
    assert first == second  # the same weights, codebooks and temperatures on both ranks, bit for bit
