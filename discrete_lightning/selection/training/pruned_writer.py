"""Writes the network that is left when training ends: a program, weights, a description, and the config that trains on."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.layers.recorded import recorded
from discrete_lightning.protocols import OffersGatedNetwork
from discrete_lightning.selection.budget import gate_layers
from discrete_lightning.selection.derive import derive, derived_by, placed
from discrete_lightning.selection.network_cost import count_flops, count_parameters
from discrete_lightning.selection.ties import TieError
from discrete_lightning.storage.digest import save_with_digest
from discrete_lightning.training.atomic_write import atomic_write, write_text
from discrete_lightning.training.run_files import fresh_path, output_folder


class PrunedWriter(Callback):
    """Derives the plain network from the decided gates when fitting ends, and writes it to the folder of the run.

        network.pt2     an exported program, for any number of rows: torch.export.load("network.pt2").module() needs torch alone
        network.pt      the state dict of the derived network
        pruned.json     which gates are open, and FLOPs and parameters before and after
        retrain.yaml    the config that trains the derived network on from its weights, where this run has a config

    Works on any LightningModule with `gated_network` (see protocols.py). Rank 0 writes; nothing is overwritten. The program and
    the FLOPs need an example: the module's `example_input_array`.

    Args:
        export: whether to write network.pt2.

    Raises:
        ValueError: before training, if the module does not say which network is pruned, or that has no gates.
        TieError: before training, if gates have no tie, or it does not fit.
    """

    def __init__(self, export: bool = True) -> None:
        self.export = export

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, OffersGatedNetwork) or not gate_layers(pl_module.gated_network()):
            raise ValueError(
                f"PrunedWriter finds no network with gates in {type(pl_module).__name__}: give it a method gated_network() "
                "that returns one, or leave the callback out"
            )
        network = pl_module.gated_network()
        derived_by(network, {each: torch.ones(each.size, dtype=torch.bool) for each in gate_layers(network).values()})

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(pl_module, OffersGatedNetwork)
        network, example = pl_module.gated_network(), pl_module.example_input_array
        try:
            derived = derive(network, example).cpu().eval()
        except TieError as error:  # the checkpoint of the run is there
            warnings.warn(f"the pruned network was not written: {error}", stacklevel=2)
            return
        folder = output_folder(trainer)
        weights, record = fresh_path(folder, "network.pt"), fresh_path(folder, "pruned.json")
        with atomic_write(weights) as file:
            save_with_digest(derived.state_dict(), file)
        write_text(record, json.dumps(_record(network, derived, example), indent=1) + "\n")
        if self.export and example is not None:
            _export(derived, example, fresh_path(folder, "network.pt2"))
        _write_config(trainer, pl_module, folder, record, weights)


def _record(network: nn.Module, derived: nn.Module, example: Any) -> dict[str, Any]:
    """What pruned.json holds."""
    opened = {name: each.open().cpu() for name, each in gate_layers(network).items()}

    def costs(before: float, after: float) -> dict[str, float]:
        return {"before": before, "after": after, "share": round(after / before, 4)}

    found: dict[str, Any] = {"parameters": costs(count_parameters(network), count_parameters(derived))}
    if example is not None:
        found["flops"] = costs(count_flops(network, example), count_flops(derived, example))
    found["open"] = {name: f"{int(each.sum())} of {len(each)}" for name, each in opened.items()}
    found["decision"] = {name: each.nonzero()[:, 0].tolist() for name, each in opened.items()}
    return found


def _export(derived: nn.Module, example: Any, path: Path) -> None:
    inputs = placed(example, derived)
    # two rows: a dimension of size 1 is taken as fixed
    rows = tuple(torch.cat([each, each]) if isinstance(each, Tensor) and each.ndim else each for each in inputs)
    dims = tuple({0: torch.export.Dim.AUTO} if isinstance(each, Tensor) and each.ndim else None for each in inputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about its own code
            program = torch.export.export(derived, rows, dynamic_shapes=dims)
        with atomic_write(path) as file:
            torch.export.save(program, file)
    except Exception as error:  # what a network's own code may do cannot be known
        reason = " ".join(str(error).split())[:200]
        warnings.warn(
            f"{path.name} was not written, since torch cannot export the network ({type(error).__name__}: {reason}); its "
            "weights are in network.pt",
            stacklevel=2,
        )


def _write_config(trainer: Trainer, module: LightningModule, folder: Path, record: Path, weights: Path) -> None:
    import yaml  # type: ignore[import-untyped]

    own = folder / "config.yaml"
    run = yaml.safe_load(own.read_text(encoding="utf-8")) if own.is_file() else {}
    model = run.get("model")
    if not isinstance(model, dict) or "network" not in (model.get("init_args") or {}):
        return
    arguments = dict(model["init_args"])
    if isinstance(arguments["network"], str):
        arguments["network"] = recorded(module.gated_network()) if isinstance(module, OffersGatedNetwork) else None
    arguments["network"] = {
        "class_path": "DerivedNetwork",
        "init_args": {"network": arguments["network"], "decision": str(record), "weights": str(weights)},
    }
    trained = {name: it for name, it in (run.get("trainer") or {}).items() if name != "callbacks" and it is not None}
    config = {
        "seed_everything": run.get("seed_everything", 1),
        "model": {"class_path": model.get("class_path", type(module).__name__), "init_args": arguments},
        "trainer": trained,
    }
    if run.get("data") is not None:
        config["data"] = run["data"]
    path = fresh_path(folder, "retrain.yaml")
    title = "# The pruned network trained on from its weights; weights: null trains it from scratch\n"
    write_text(path, title + yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False))
    if trainer.is_global_zero and "data" in config:
        print(f"next step: discrete-lightning fit -c {path}")
