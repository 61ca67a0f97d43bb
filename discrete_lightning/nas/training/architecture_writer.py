"""Writes the architecture that a search found, its choices over the epochs, and the config that trains it."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.spaces.space import Edge
from discrete_lightning.nas.training.cell_picture import draw, graphviz
from discrete_lightning.protocols import ConfiguresRetraining, DrawsArchitecture, RecordsArchitecture
from discrete_lightning.training.atomic_write import atomic_write, write_table, write_text
from discrete_lightning.training.pictures import add_caption, never_ends_a_run
from discrete_lightning.training.run_files import fresh_path, output_folder
from discrete_lightning.training.wandb_media import log_image


class ArchitectureWriter(Callback):
    """Writes what was found to the folder of the run; works on any LightningModule that holds a OneOf.

        architecture.json           the decided options; for ArchitectureSearch with the space they are of
        choice_probabilities.csv    softmax(logits) of every choice after each epoch, and as a picture (.png)
        architecture.dot, .png      the cell, if the module offers `architecture_edges` (see protocols.py)
        retrain.yaml                the config of the next step, if the module offers `retraining_config`, with the data of
                                    this run's config.yaml

    Rank 0 writes; nothing is overwritten. After Ctrl-C or an error the first two are of the search so far. The history is kept
    in checkpoints.

    Raises:
        ValueError: in setup, if the module holds no choice.
    """

    def __init__(self) -> None:
        self._history: list[dict[str, Any]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and not _choices(pl_module):
            raise ValueError(
                f"ArchitectureWriter finds no choice in {type(pl_module).__name__}: add a OneOf([...]) where it is to "
                "choose, or leave the callback out"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        probabilities = {
            name: torch.softmax(choice.logits.detach().float(), -1).cpu()
            for name, choice in _choices(pl_module).items()
        }
        # a resumed run repeats no epoch
        self._history = [each for each in self._history if each["epoch"] < trainer.current_epoch]
        self._history.append({"epoch": trainer.current_epoch, "probabilities": probabilities})

    def state_dict(self) -> dict[str, Any]:
        return {"history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._history = list(state_dict["history"])

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = output_folder(trainer)
        self._write_found(folder, pl_module)
        if isinstance(pl_module, DrawsArchitecture):
            edges = [Edge(*each) for each in pl_module.architecture_edges()]
            write_text(fresh_path(folder, "architecture.dot"), graphviz(edges))
            caption = (
                f"The decided architecture after search epoch {max(1, trainer.current_epoch)}: data flows left to right"
            )
            with never_ends_a_run("architecture.png"):
                picture = fresh_path(folder, "architecture.png")
                draw(edges, picture, caption)
                _show(trainer, "architecture", picture, caption)
        if isinstance(pl_module, ConfiguresRetraining):
            self._write_config(trainer, folder, pl_module.retraining_config())

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # what was found so far; without an epoch nothing was
        if self._history and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._write_found(output_folder(trainer), pl_module)

    def _write_found(self, folder: Path, pl_module: LightningModule) -> None:
        if isinstance(pl_module, RecordsArchitecture):
            record = pl_module.architecture_record()
        else:
            record = {"choices": {name: choice.decided() for name, choice in _choices(pl_module).items()}}
        write_text(fresh_path(folder, "architecture.json"), json.dumps(record, indent=2) + "\n")
        if self._history:
            self._write_history(folder, _choices(pl_module))

    def _write_history(self, folder: Path, choices: dict[str, ArchitectureChoice]) -> None:
        lines = [
            {"epoch": each["epoch"], "choice": name, "row": row, "option": option, "probability": f"{value:.6g}"}
            for each in self._history
            for name, rows in each["probabilities"].items()
            for row, values in enumerate(rows.tolist())
            for option, value in zip(choices[name].options, values, strict=True)
        ]
        write_table(fresh_path(folder, "choice_probabilities.csv"), list(lines[0]), lines)
        with never_ends_a_run("choice_probabilities.png"):
            _draw_history(self._history, choices, fresh_path(folder, "choice_probabilities.png"))

    def _write_config(self, trainer: Trainer, folder: Path, config: dict[str, Any]) -> None:
        import yaml  # type: ignore[import-untyped]

        own = folder / "config.yaml"
        searched = yaml.safe_load(own.read_text(encoding="utf-8")) if own.is_file() else {}
        data = searched.get("data")
        if isinstance(data, dict) and str(data.get("class_path", "")).rpartition(".")[2] == "SearchSplit":
            arguments = data.get("init_args") or {}
            data = dict(arguments["data"])
            data["init_args"] = {**(data.get("init_args") or {}), "batch_size": arguments.get("batch_size", 64)}
        config = {"seed_everything": searched.get("seed_everything", 1), **config}
        where = {name: (searched.get("trainer") or {}).get(name) for name in ("accelerator", "devices", "precision")}
        config["trainer"] = (config.get("trainer") or {}) | {name: it for name, it in where.items() if it is not None}
        if data is not None:
            config["data"] = data
        path = fresh_path(folder, "retrain.yaml")
        title = "# The found architecture trained from scratch, beside random search at the cost of the search\n"
        write_text(path, title + yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False))
        if data is not None:
            print(f"next step: discrete-lightning fit -c {path}")


def _choices(module: LightningModule) -> dict[str, ArchitectureChoice]:
    return {name: each for name, each in module.named_modules() if isinstance(each, ArchitectureChoice)}


def _show(trainer: Trainer, key: str, picture: Path, caption: str) -> None:
    from PIL import Image

    with Image.open(picture) as image:
        log_image(trainer, key, image.convert("RGB"), caption)


def _draw_history(history: list[dict[str, Any]], choices: dict[str, ArchitectureChoice], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(name, row) for name, choice in choices.items() for row in range(choice.count)]
    columns = min(len(panels), 4)
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns + 1.6, 2.2 * lines + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    epochs = [each["epoch"] + 1 for each in history]
    shared = len({choice.options for choice in choices.values()}) == 1  # one legend for all
    for axes, (name, row) in zip(grid, panels, strict=False):
        values: Tensor = torch.stack([each["probabilities"][name][row] for each in history])
        for option, curve in zip(choices[name].options, values.T.tolist(), strict=True):
            axes.plot(epochs, curve, marker="." if len(epochs) == 1 else None, label=option)
        axes.set_title(f"choice {row}" if len(choices) == 1 else f"{name} {row}", fontsize=8, loc="left")
        axes.set_ylim(0, 1)
        if not shared:
            axes.legend(fontsize=6)
    for axes in grid[len(panels) :]:
        axes.axis("off")
    grid[0].set_ylabel("probability")
    add_caption(figure, "Search: probability of each option of each choice (training), over epochs")
    if shared:
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    with atomic_write(path) as file:
        figure.savefig(file, dpi=110)
