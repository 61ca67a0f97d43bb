"""Watches routers: how evenly experts are loaded, how many are dead, and how much a choice tells of a token."""

from torch import Tensor, nn

from discrete_lightning.layers.choice_use import ChoiceUse
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.routers.bias_balanced import BiasBalancedRouter
from discrete_lightning.training.choice_monitor import ChoiceMonitor


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

    Raises:
        ValueError: if an argument is out of range; in setup, if the module holds no Router.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[RouterMonitor()], logger=False, enable_checkpointing=False)
    """

    kind, categories = "experts", "experts"

    def __init__(self, collapsed_below: float = 0.5, patience: int = 2, filename: str | None = "experts.png") -> None:
        # with k of few experts one can be chosen by nearly all tokens at an even load
        super().__init__(None, collapsed_below, dominated_above=1.0, patience=patience, filename=filename)

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
