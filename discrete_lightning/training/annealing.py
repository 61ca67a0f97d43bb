"""Annealing: a schedule sets every Temperature (or loss weight) of a module, as a pure function of a counter.

One mechanism for all of them. It works on any LightningModule that holds our layers, and a resumed run goes on exactly,
since nothing but Lightning's own counters is used.
"""

from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim.swa_utils import AveragedModel

from discrete_lightning.layers.temperature import LossWeight, Scheduled, Temperature
from discrete_lightning.schedules import Schedule

Count = Literal["optimizer_steps", "batches", "epochs"]


class Annealing(Callback):
    """Sets scalars of one kind at the start of every training batch; base of TemperatureAnnealing and WeightAnnealing.

    Args:
        schedule: step -> value.
        count: what a step is. "optimizer_steps": steps taken (with several optimisers, the mean number each has taken);
            "batches": batches seen, held constant within a window of gradient accumulation; "epochs": epochs finished.
        only: glob patterns of module names (`encoder.*`); all scalars of the kind if None.
        log: whether to log the value: by kind if there is one scalar, else kind/name.
    """

    kind: ClassVar[type[Scheduled]] = Scheduled
    logged_as: ClassVar[str] = "value"

    def __init__(
        self,
        schedule: Schedule,
        count: Count = "optimizer_steps",
        only: str | list[str] | None = None,
        log: bool = True,
    ) -> None:
        if count not in ("optimizer_steps", "batches", "epochs"):
            raise ValueError(f"count must be 'optimizer_steps', 'batches' or 'epochs', got {count!r}")
        self.schedule, self.count, self.log_values = schedule, count, log  # Lightning takes `log` for itself
        self.only = [only] if isinstance(only, str) else only

    def scalars(self, module: nn.Module) -> dict[str, Scheduled]:
        """The scalars of `module` that this callback sets, by name. A shared one appears once.

        Raises:
            ValueError: if there is none, or nothing matches `only`.
        """
        found = {name: child for name, child in module.named_modules() if isinstance(child, self.kind)}
        free = {name: child for name, child in found.items() if not getattr(child, "learnable", False)}
        matched = {
            name: child
            for name, child in free.items()
            if self.only is None or any(fnmatchcase(name, pattern) for pattern in self.only)
        }
        if not matched:
            kind = self.kind.__name__
            there = f"it holds {', '.join(found)}" if found else f"it holds no {kind}"
            learned = [name for name in found if name not in free]
            raise ValueError(
                f"{type(self).__name__}(only={self.only}) finds nothing to set in {type(module).__name__}: {there}"
                + (f", of which {', '.join(learned)} are learned (learnable=True)" if learned else "")
                + ". Change `only`, or leave this callback out."
            )
        return matched

    def step(self, trainer: Trainer, batch_idx: int = 0) -> int:
        """The counter, from Lightning's own progress."""
        if self.count == "epochs":
            return trainer.current_epoch
        if self.count == "batches":
            within = batch_idx % trainer.accumulate_grad_batches
            return max(0, trainer.fit_loop.total_batch_idx - within)
        return trainer.global_step // max(1, len(trainer.optimizers))  # global_step counts every optimiser's steps

    def _set(self, trainer: Trainer, batch_idx: int = 0) -> None:
        step = self.step(trainer, batch_idx)
        value = self.schedule(step)
        for scalar in self._held:
            try:
                scalar.set(value)
            except ValueError as error:
                raise ValueError(f"{self.schedule} at {self.count} {step}: {error}") from None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = self.scalars(pl_module)
        kind = self.logged_as
        alone = len(found) == 1 and self.only is None
        self._logged = {kind if alone else f"{kind}/{name}": scalar for name, scalar in found.items()}
        # Weight averaging averages buffers, too. Set in both places, since an average of equal values is the value.
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        averages = [
            held for callback in callbacks for held in vars(callback).values() if isinstance(held, AveragedModel)
        ]
        holders = [pl_module, *(average.module for average in averages)]
        self._held = [scalar for holder in holders for scalar in self.scalars(holder).values()]

    # Not in on_fit_start, which comes before a checkpoint's counters are restored.
    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._set(trainer, batch_idx)
        if self.log_values:
            for name, scalar in self._logged.items():
                pl_module.log(name, scalar(), prog_bar=name == "temperature", on_step=True, on_epoch=False)


class TemperatureAnnealing(Annealing):
    """Anneals every `Temperature` in a module that is not learned; logs `temperature`, or `temperature/<name>` of several.

    Args:
        schedule: step -> temperature > 0.
        count: "optimizer_steps", "batches" or "epochs".
        only: glob patterns of names, for several temperatures with schedules of their own.
        log: whether to log.

    Raises:
        ValueError: before training, if the module holds no temperature to set; later, if the schedule gives one <= 0.

    Example:
        >>> from discrete_lightning.schedules import Exponential, Staircase
        >>> jang = TemperatureAnnealing(Staircase(Exponential(1.0, rate=1e-5, minimum=0.5), every=500))
    """

    kind, logged_as = Temperature, "temperature"


class WeightAnnealing(Annealing):
    """Anneals the weights of loss terms: entropy bonuses (`only="*choice"`), KL (`only="kl.weight"`).

    Args:
        schedule: step -> weight >= 0.
        only: glob patterns of names of the `LossWeight`s; required, since one schedule rarely fits all weights.
        count: "optimizer_steps", "batches" or "epochs".
        log: whether to log `weight/<name>`.

    Example:
        >>> from discrete_lightning.schedules import Linear
        >>> warm_up = WeightAnnealing(Linear(0.0, 1.0, steps=1000), only="kl.weight")
    """

    kind, logged_as = LossWeight, "weight"

    def __init__(
        self, schedule: Schedule, only: str | list[str], count: Count = "optimizer_steps", log: bool = True
    ) -> None:
        super().__init__(schedule, count, only, log)
