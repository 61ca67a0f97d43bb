"""Leads the gates of a module to a budget, and decides them so that what is deployed meets it."""

import warnings
from typing import Any, Literal, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from discrete_lightning.selection.budget import BudgetController, Scope, deployed_cost, gate_layers, open_gates
from discrete_lightning.selection.gates.gate_layer import GateLayer
from discrete_lightning.selection.least_gates import Cost
from discrete_lightning.selection.network_cost import NetworkCost
from discrete_lightning.training.averaging import sync_averaged_copies
from discrete_lightning.training.progress import progress

Counted = Literal["gates", "flops", "parameters"]


class Budget(Callback):
    """Meets a budget of gates: trains them all first, then lets the expected cost fall, decides, and trains what is left.

    Works on any LightningModule with gates, on any number of ranks and in any precision. Once a step of the optimiser that
    trains the gates it adds the gradient of `weight * expected cost / target` (see `BudgetController`). Before each validation
    the best gates that meet the target of that moment are opened, so that what is validated is what would be deployed; from
    `settle` on, the decision is held in training, too. A new run starts without a decision.

    Logged in each step: `budget/target`, `budget/expected` (before the step) and `budget/weight`; after each epoch:
    `budget/cost`, of the gates that would be deployed. Where each layer has its budget: `budget/<layer>/...`.

    Args:
        target: an int is a cost (5 open gates); a float in (0, 1) is a share of the cost of all gates.
        cost: what is counted: "gates"; or "flops" or "parameters" of the network that `derive` gives (see `NetworkCost`), for
            which the module has an `example_input_array`; in Python also a function of P(open) of each layer.
        scope: "whole": the layers share one budget; "layer": each meets its own share or number of open gates.
        start: share of the run after which the target begins to fall.
        end: share of the run at which it has arrived.
        settle: share of the run from which the gates are decided and held.
        integral, proportional, most, two_sided: of the controller.

    Attributes:
        controller: BudgetController, once fitting has started.

    Raises:
        ValueError: if an argument is out of range; before training, if the module has no gates, no optimiser or several train
            them, it has no `example_input_array` to count with, or gates lack the ties that the cost needs.
        BudgetError: before training, if no decision meets the budget.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[Budget(5)], logger=False, enable_checkpointing=False)
    """

    def __init__(
        self,
        target: int | float,
        cost: Counted | Cost = "gates",
        scope: Scope = "whole",
        start: float = 0.25,
        end: float = 0.75,
        settle: float = 0.85,
        integral: float = 0.01,
        proportional: float = 1.0,
        most: float = 100.0,
        two_sided: bool = False,
    ) -> None:
        if isinstance(cost, str) and cost not in get_args(Counted):
            raise ValueError(f"cost must be 'gates', 'flops', 'parameters' or a function, got {cost!r}")
        if cost != "gates" and scope == "layer":
            raise ValueError("scope='layer' counts the open gates of each layer: take cost='gates', or scope='whole'")
        self.cost = cost
        self._settings: dict[str, Any] = {"target": target, "scope": scope, "start": start, "end": end}
        self._settings |= {"settle": settle, "integral": integral, "proportional": proportional, "most": most}
        self._settings["two_sided"] = two_sided
        self.controller = BudgetController(**self._settings)  # looks at the arguments
        self._loaded: dict[str, Any] | None = None
        self._has_stepped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        cost = _cost(self.cost, pl_module)
        self.controller = BudgetController(cost=cost, **self._settings)
        self.controller.check(pl_module)
        _check_owner(trainer, pl_module)
        if self._loaded is None:
            for each in gate_layers(pl_module).values():
                each.undecide()

    # Not in on_fit_start: some strategies restore a checkpoint after it.
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loaded = self._loaded or {}
        self.controller.load_state_dict(loaded.get("multipliers", {}))
        self.controller.expected, self.controller.weights = (
            dict(loaded.get(key, {})) for key in ("expected", "weights")
        )
        self._loaded, self._has_stepped = None, False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        share = progress(trainer, trainer.accumulate_grad_batches)
        if share >= self.controller.settle:
            self._decide(trainer, pl_module, share)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        gates = {id(each) for each in _parameters(pl_module)}
        if any(id(each) in gates for group in optimizer.param_groups for each in group["params"]):
            self.controller.add_gradient(pl_module, progress(trainer, trainer.accumulate_grad_batches))
            self._has_stepped = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._has_stepped:
            return
        self._has_stepped = False
        share = progress(trainer, trainer.accumulate_grad_batches)
        for name, layers in self.controller.groups(pl_module).items():
            prefix = f"budget/{name}/" if name else "budget/"
            values = {"target": self.controller.current(share, layers)}
            if name in self.controller.expected:
                values |= {"expected": self.controller.expected[name], "weight": self.controller.weights[name]}
            for key, value in values.items():  # equal on all ranks
                pl_module.log(prefix + key, float(value), on_step=True, on_epoch=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":  # what is validated alone has its decision
            self._decide(trainer, pl_module, progress(trainer, trainer.accumulate_grad_batches, is_over=True))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._decide(trainer, pl_module, progress(trainer, trainer.accumulate_grad_batches, is_over=True))
        for name, layers in self.controller.groups(pl_module).items():
            cost = deployed_cost(nn.ModuleList(layers), self.controller.cost)
            pl_module.log(f"budget/{name}/cost" if name else "budget/cost", cost, rank_zero_only=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        share = progress(trainer, trainer.accumulate_grad_batches, is_over=True)
        if share < self.controller.settle and trainer.is_global_zero:
            warnings.warn(
                f"training ended after {share:.0%} of the run, before the gates were settled ({self.controller.settle:.0%}): "
                "they are decided now, and the network is not trained with the decision",
                stacklevel=2,
            )
        self._decide(trainer, pl_module, 1.0)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        cost = _cost(self.cost, pl_module)
        controller = BudgetController(cost=cost, **self._settings)
        for layers in controller.groups(pl_module).values():  # a checkpoint from the middle of the run is above
            if deployed_cost(nn.ModuleList(layers), cost) > controller.budget(layers) * (1 + 1e-6):
                controller.decide(nn.ModuleList(layers), 1.0)

    def __getstate__(self) -> dict[str, Any]:
        """Without the function that counts, which holds the module."""
        controller = BudgetController(**self._settings)
        controller.load_state_dict(self.controller.state_dict())
        return {**self.__dict__, "controller": controller}

    def state_dict(self) -> dict[str, Any]:
        figures = {"expected": dict(self.controller.expected), "weights": dict(self.controller.weights)}
        return {"multipliers": self.controller.state_dict()} | figures

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = dict(state_dict)

    def _decide(self, trainer: Trainer, pl_module: LightningModule, share: float) -> None:
        self.controller.decide(pl_module, share)
        sync_averaged_copies(trainer, pl_module)


def _cost(cost: Counted | Cost, module: LightningModule) -> Cost:
    """The function that counts."""
    if not isinstance(cost, str):
        return cost
    if cost == "gates":
        return open_gates
    example = module.example_input_array
    if example is None:
        raise ValueError(
            f"Budget(cost={cost!r}) counts what one pass of {type(module).__name__} costs, and it has no example: set "
            "self.example_input_array to an input of one row"
        )
    return NetworkCost(module, example, unit=cost)


def _parameters(module: nn.Module) -> list[Tensor]:
    layers: list[GateLayer] = list(gate_layers(module).values())
    return [each for layer in layers for each in layer.parameters() if each.requires_grad]


def _check_owner(trainer: Trainer, module: LightningModule) -> None:
    """Raises ValueError unless one optimiser trains all gates."""
    gates = {id(each) for each in _parameters(module)}
    owned = [{id(each) for group in optimizer.param_groups for each in group["params"]} & gates
             for optimizer in trainer.optimizers]  # fmt: skip
    count = sum(bool(each) for each in owned)
    if count != 1 or set().union(*owned) != gates:
        found = f"{count} optimisers train them" if count > 1 else f"{len(set().union(*owned))} of their {len(gates)}"
        found += "" if count > 1 else " parameters are trained"
        raise ValueError(
            f"Budget moves the gates of {type(module).__name__} in the step of one optimiser, and {found}: give all of them to "
            "one in configure_optimizers"
        )
