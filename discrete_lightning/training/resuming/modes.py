"""What a run changes of a module as it goes, and no `state_dict` holds: frozen parameters, modules in evaluation mode."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging

from discrete_lightning.training.resuming.random_state import Plain


class Modes:
    """Whether parameters have gradients, the modes of modules, and how many batches make a step.

    Args:
        trainer: before it fits.
        module: that it is to fit.
    """

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self._first, self._batches = _modes(module), trainer.accumulate_grad_batches

    def changes(self, trainer: Trainer, module: LightningModule) -> Plain:
        """What the run has changed so far."""
        changed = {name: each for name, each in _modes(module).items() if each != self._first.get(name, _USUAL)}
        return {"modes": changed, "batches": (self._batches, trainer.accumulate_grad_batches)}

    def set_changes(self, trainer: Trainer, module: LightningModule, state: Plain) -> None:
        """Restores `changes`. A trainer that was given another number of batches keeps its own."""
        wanted = self._first | state["modes"]
        for name, each in module.named_parameters():
            each.requires_grad_(wanted.get(f"{name}?", _USUAL)[0])
        for name, part in module.named_modules():
            part.training, tracks = wanted.get(name, _USUAL)
            if hasattr(part, "track_running_stats"):
                part.track_running_stats = tracks
        given, present = state["batches"]
        if given == self._batches:
            trainer.accumulate_grad_batches = present


_USUAL = (True, True)


def _modes(module: LightningModule) -> dict[str, Any]:
    parameters = {f"{name}?": (each.requires_grad, True) for name, each in module.named_parameters()}
    modules = {
        name: (each.training, getattr(each, "track_running_stats", True)) for name, each in module.named_modules()
    }
    return parameters | modules


def begin_averaging(trainer: Trainer, module: LightningModule) -> None:
    """Has StochasticWeightAveraging, where it had begun, take up its scheduler, as it does when an epoch starts."""
    progress = trainer.fit_loop.epoch_progress.current
    present = progress.completed
    for each in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(each, StochasticWeightAveraging) and each.state_dict()["latest_update_epoch"] >= 0:
            groups = [{**group, "params": None} for group in trainer.optimizers[0].param_groups]
            progress.completed = each.state_dict()["latest_update_epoch"]
            each.on_train_epoch_start(trainer, module)
            progress.completed = present
            for group, saved in zip(trainer.optimizers[0].param_groups, groups, strict=True):
                group |= {name: value for name, value in saved.items() if name != "params"}
