"""Watches routers: how evenly experts are loaded, how many are dead, and how much a choice tells of a token."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.layers.choice_use import ChoiceUse
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.routers.bias_balanced import BiasBalancedRouter
from discrete_lightning.routing.training.load_picture import draw_load
from discrete_lightning.training.choice_monitor import ChoiceMonitor
from discrete_lightning.training.pictures import never_ends_a_run, save_figure


class RouterMonitor(ChoiceMonitor):
    """ChoiceMonitor for the routers in a module, those inside other layers that choose included.

    Logged after each epoch as `experts/<figure>`, or `experts/<router>/<figure>` where there are several routers: the figures
    of ChoiceMonitor (`load_violation`, `choice_entropy`: the router's, `marginal_entropy` ...), and

        dead_experts    the number of experts that got no token
        information     marginal_entropy - choice_entropy, in nats: how much the choice of an expert tells of a token

    Args:
        collapsed_below: a share of experts with a token below which it warns, once; 0 never warns.
        patience: epochs before it may warn.
        filename: picture of the load in the last epoch, written to the run's folder when fitting ends; None for no picture.
        history: picture of the load of each expert in each epoch, likewise.

    Raises:
        ValueError: if an argument is out of range; in setup, if the module holds no Router.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[RouterMonitor()], logger=False, enable_checkpointing=False)
    """

    kind, categories = "experts", "experts"

    def __init__(
        self,
        collapsed_below: float = 0.5,
        patience: int = 2,
        filename: str | None = "experts.png",
        history: str | None = "load.png",
    ) -> None:
        # with k of few experts one can be chosen by nearly all tokens at an even load
        super().__init__(None, collapsed_below, dominated_above=1.0, patience=patience, filename=filename)
        self.history = history
        self._loads: dict[str, list[Tensor]] = {}

    def layers(self, module: nn.Module) -> dict[str, nn.Module]:
        return {name: each for name, each in module.named_modules() if isinstance(each, Router)}

    def advice(self, layer: nn.Module) -> str:
        if isinstance(layer, BiasBalancedRouter):
            return "raise `speed`, so that the biases follow the load faster, or lower the learning rate"
        return "raise the weight `balance`, or take router='bias_balanced', or lower the learning rate"

    def figures(self, use: ChoiceUse) -> dict[str, Tensor]:
        found = super().figures(use)
        chosen = use.chosen.float()
        found["load_violation"] = (chosen.max() / chosen.mean().clamp_min(1e-20) - 1).clamp_min(0)
        found["dead_experts"] = (chosen == 0).sum().float()
        if "choice_entropy" in found:
            found["information"] = found["marginal_entropy"] - found["choice_entropy"]
        return found

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        self._loads = {}

    def rank_state(self) -> dict[str, Any]:
        return super().rank_state() | {"loads": {name: torch.stack(each) for name, each in self._loads.items()}}

    def set_rank_state(self, state: dict[str, Any], device: torch.device) -> None:
        super().set_rank_state(state, device)
        self._loads = {name: list(each) for name, each in state["loads"].items()}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        for name, use in self._last.items():
            self._loads.setdefault(name, []).append(use.usage().cpu())

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_end(trainer, pl_module)
        if self.history and self._loads and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            with never_ends_a_run(self.history):
                save_figure(trainer, draw_load(self._loads), self.history, f"{self.kind}/load", _CAPTION)


_CAPTION = (
    "Load of each expert in each epoch of training, as a multiple of an even load: 1 is even, 0 is a dead expert."
)
