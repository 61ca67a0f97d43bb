"""Watches gates: how many are open, how many are expected to be, and how decided they are."""

import warnings
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.selection.budget import gate_layers
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.training.gate_picture import draw_gates
from discrete_lightning.training.pictures import never_ends_a_run, save_figure

_DECIDED = 0.05


class GateMonitor(Callback):
    """Logs the gates of a module after each epoch, and draws their probabilities over the epochs.

    Three numbers that other code mixes up are logged apart, as `gates/<figure>` for all layers together and, where there are
    several, as `gates/<layer>/<figure>`:

        open        gates that are open in eval(): what is deployed
        expected    sum of P(open): gates that are open in a draw of training
        undecided   share of the gates whose P(open) lies between .05 and .95; 0 once a decision is held

    Warns, once, of a layer whose gates are all closed, unless it may go as a whole.

    Args:
        filename: picture, written to the run's folder when fitting ends; None for no picture.

    Raises:
        ValueError: before training, if the module has no gates.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[GateMonitor()], logger=False, enable_checkpointing=False)
    """

    def __init__(self, filename: str | None = "gates.png") -> None:
        self.filename = filename
        self._history: list[dict[str, Any]] = []
        self._warned: set[str] = set()

    # Not in setup: a model may make its gates there, when it knows the data.
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not gate_layers(pl_module):
            raise ValueError(
                f"GateMonitor finds no gates in {type(pl_module).__name__}: put a Gate, HardConcrete, StochasticGate or "
                "SelectK in it, or leave the callback out"
            )
        self._warned = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        layers = gate_layers(pl_module)
        chances = {name: _chances(each) for name, each in layers.items()}
        opened = {name: each.open().cpu() for name, each in layers.items()}
        # a resumed run repeats no epoch, and a second one starts anew
        self._history = [each for each in self._history if each["epoch"] < trainer.current_epoch]
        self._history.append({"epoch": trainer.current_epoch, "chances": chances})
        self._log(pl_module, "gates", torch.cat(list(chances.values())), torch.cat(list(opened.values())))
        for name, layer in layers.items():
            if len(layers) > 1:
                self._log(pl_module, f"gates/{name}", chances[name], opened[name])
            if layer.least and not opened[name].any() and name not in self._warned and trainer.is_global_zero:
                self._warned.add(name)
                warnings.warn(
                    f"{type(layer).__name__} {name!r} has closed all of its {layer.size} gates: nothing passes it. Start the "
                    "budget later, or lower its weight",
                    stacklevel=2,
                )

    def _log(self, module: LightningModule, prefix: str, chances: Tensor, opened: Tensor) -> None:
        undecided = ((chances > _DECIDED) & (chances < 1 - _DECIDED)).float().mean()
        figures = {"open": opened.sum().float(), "expected": chances.sum(), "undecided": undecided}
        for name, value in figures.items():  # equal on all ranks
            module.log(f"{prefix}/{name}", value, prog_bar=prefix == "gates" and name == "open", rank_zero_only=True)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._history = list(state_dict["history"])

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        layers = gate_layers(pl_module)
        drawn = trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]
        if self.filename and self._history and drawn:
            with never_ends_a_run(self.filename):
                chances = {name: [each["chances"][name] for each in self._history] for name in layers}
                figure = draw_gates(chances, {name: each.open().cpu() for name, each in layers.items()})
                save_figure(trainer, figure, self.filename, "gates/picture", _CAPTION)


@torch.no_grad()
def _chances(layer: GateLayer) -> Tensor:
    """P(open) in training, float32 (D,): 0 and 1 once a decision is held."""
    return (layer.open().float() if layer.held else layer.open_probability().float()).cpu()


_CAPTION = (
    "Probability that each gate is open in training, after each epoch. Gates below the red line are open at the end, in what "
    "is deployed; each layer is sorted by that, and by the mean over the epochs."
)
