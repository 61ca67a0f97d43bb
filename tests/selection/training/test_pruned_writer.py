"""What is written of a pruned network: it runs where the package is not, has the counted cost, and a config trains it on."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor, nn

from discrete_lightning.callbacks import Budget, GateMonitor, PrunedWriter
from discrete_lightning.cli import main
from discrete_lightning.models import PrunedNetwork
from discrete_lightning.nn import GatedConvNet, GatedTransformer
from discrete_lightning.selection import Gate, NetworkCost, TieError, derive
from tests.selection.training.gated_rows import GatedRows, built, fit
from tests.tiny_images import TinyImages, quiet_trainer
from tests.tiny_tokens import TinyText

_ALONE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("discrete_lightning", "lightning"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
import torch
folder = sys.argv[1]
inputs = torch.load(folder + "/inputs.pt")
program = torch.export.load(folder + "/network.pt2").module()
torch.save(program(inputs), folder + "/outputs.pt")
assert "discrete_lightning" not in sys.modules
assert set(torch.load(folder + "/network.pt")) == {name for name in program.state_dict()}
"""


def pruned(network: nn.Module, data: Any, folder: Path, target: float = 0.4) -> PrunedNetwork:
    seed_everything(0, verbose=False)
    model = PrunedNetwork(network)
    callbacks = [Budget(target, "flops"), GateMonitor(), PrunedWriter()]
    trainer = quiet_trainer(max_epochs=2, callbacks=callbacks, default_root_dir=folder, log_every_n_steps=1)
    trainer.fit(model, data)
    found = trainer.test(model, data, verbose=False)[0]
    cost = NetworkCost(network, network.example)
    assert 0.3 * cost.dense < found["test/flops"] <= target * cost.dense
    assert set(found) == {f"test/{name}" for name in ("accuracy", "loss", "relaxation_gap", "flops", "parameters")}
    return model


@pytest.mark.parametrize("kind", ["conv", "transformer"])
def test_what_is_written_runs_without_the_package(kind: str, tmp_path: Path) -> None:
    """For another number of rows than the example has."""
    if kind == "conv":
        model = pruned(GatedConvNet([6, 8]), TinyImages(batch_size=32), tmp_path)
        inputs = torch.rand(5, 1, 28, 28)
    else:
        model = pruned(GatedTransformer(10, 8, 8, 4, 16, 2, blocks=True), TinyText(batch_size=32), tmp_path)
        inputs = torch.randint(10, (5, 8))
    torch.save(inputs, tmp_path / "inputs.pt")
    subprocess.run([sys.executable, "-W", "ignore", "-c", _ALONE, str(tmp_path)], check=True, cwd=tmp_path)
    expected = model.network.eval()(inputs)
    torch.testing.assert_close(torch.load(tmp_path / "outputs.pt"), expected, rtol=1e-4, atol=1e-4)
    record = json.loads((tmp_path / "pruned.json").read_text())
    derived = derive(model.network)
    assert record["parameters"]["after"] == sum(each.numel() for each in derived.parameters())
    assert record["flops"]["after"] / record["flops"]["before"] <= 0.4
    assert {name: len(each) for name, each in record["decision"].items()} == {
        name: int(text.split()[0]) for name, text in record["open"].items()
    }
    assert (tmp_path / "gates.png").stat().st_size


def test_the_written_config_trains_the_derived_network_on(tmp_path: Path) -> None:
    config = "selection/prune"
    small = ["--trainer.limit_train_batches=4", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1"]
    options = [
        *small,
        "--trainer.max_epochs=1",
        "--trainer.log_every_n_steps=1",
        "--wandb.enabled=false",
        "--data.batch_size=16",
    ]
    network = "--model.network.init_args.channels=[4, 6]"
    assert main(["fit", "-c", config, *options, network, f"--run_root={tmp_path}/first"]) == 0
    first = next((tmp_path / "first").rglob("retrain.yaml"))
    written = yaml.safe_load(first.read_text())
    assert written["model"]["init_args"]["network"]["class_path"].endswith("DerivedNetwork")
    assert "callbacks" not in written["trainer"]
    again = ["--wandb.enabled=false", f"--run_root={tmp_path}/second"]
    assert main(["fit", "-c", str(first), *again]) == 0
    figures = [_figures(next((tmp_path / part).rglob("metrics.csv"))) for part in ("first", "second")]
    for name in ("test/flops", "test/parameters"):
        assert figures[0][name] == figures[1][name]
    saved = next((tmp_path / "second").rglob("last.ckpt"))
    assert PrunedNetwork.load_from_checkpoint(saved)(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def _figures(file: Path) -> dict[str, str]:
    with file.open() as lines:
        return {key: value for row in csv.DictReader(lines) for key, value in row.items() if value}


class Own(GatedRows):
    """A module of a user's own, which says which network is pruned."""

    def gated_network(self) -> nn.Module:
        return self.network


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    module = Own()
    fit(module, Budget(8), PrunedWriter(), default_root_dir=tmp_path)
    program = torch.export.load(tmp_path / "network.pt2").module()
    x = torch.randn(3, 12)
    torch.testing.assert_close(program(x), module.network.eval()(x), rtol=1e-4, atol=1e-5)
    assert not (tmp_path / "retrain.yaml").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for _ in range(2):
        fit(Own(), Budget(8), PrunedWriter(export=False), max_epochs=1, default_root_dir=tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["network-2.pt", "network.pt", "pruned-2.json", "pruned.json"]


def test_modules_that_do_not_fit_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"PrunedWriter finds no network with gates in GatedRows: give it a method"):
        fit(built(), PrunedWriter(), default_root_dir=tmp_path)
    module = Own()
    module.network.append(Gate(1))
    with pytest.raises(TieError, match=r"'5' .* is tied to no layers"):
        fit(module, PrunedWriter(), default_root_dir=tmp_path)


def test_a_network_that_torch_cannot_export_is_told(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool((x > 0).all()) else -x

    module = Own()
    module.network.append(Branching())
    with pytest.warns(UserWarning, match=r"network\.pt2 was not written, since torch cannot export the network"):
        fit(module, Budget(8), PrunedWriter(), max_epochs=1, default_root_dir=tmp_path)
    assert (tmp_path / "network.pt").exists()
    assert not (tmp_path / "network.pt2").exists()


def test_a_network_with_a_closed_layer_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    module = Own()
    nn.init.constant_(module.columns.logits, -9.0)
    with pytest.warns(UserWarning, match=r"the pruned network was not written: '0' .* has no open gate"):
        fit(module, PrunedWriter(), max_epochs=1, default_root_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_data_that_do_not_fit_the_network_are_refused() -> None:
    model = PrunedNetwork(GatedConvNet([3], classes=3))
    images, labels = torch.rand(4, 1, 28, 28), torch.arange(4)
    model.check_batch((images, labels % 3))
    cases: list[tuple[Any, str]] = [
        (images, "the targets whole numbers, and the data served none"),
        ((images, labels.float()), "served torch.float32"),
        ((images, labels), "the network has 3 classes, and targets go from 0 to 3"),
        ((images.expand(4, 2, 28, 28), labels), r"the network does not take inputs of \[2, 28, 28\]"),
        ((images, labels[:, None].expand(4, 2)), r"its targets are \[2\]"),
    ]
    for batch, message in cases:
        with pytest.raises(ValueError, match=message):
            model.check_batch(batch)


def test_the_relaxation_gap_is_that_of_the_gates(tmp_path: Path) -> None:
    seed_everything(0, verbose=False)
    model: LightningModule = PrunedNetwork(GatedConvNet([6, 8]))
    found = [quiet_trainer().test(model, TinyImages(batch_size=8), verbose=False)[0] for _ in range(2)]
    assert found[0] == found[1]  # the draws do not depend on the generator's state
    assert found[0]["test/relaxation_gap"] != 0
