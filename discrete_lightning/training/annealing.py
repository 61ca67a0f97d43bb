"""Annealing: a schedule sets every Temperature (or loss weight) of a module, as a pure function of a counter.

The callbacks work on any LightningModule that holds our layers, and a resumed run continues exactly, since only
Lightning's own counters are used. The same base moves learning rates: see learning_rate_annealing.py.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from typing import Any, ClassVar, Literal, Protocol, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.relaxed import Relaxed
from discrete_lightning.layers.temperature import LossWeight, Scheduled, Temperature
from discrete_lightning.schedules import Schedule
from discrete_lightning.training.averaging import sync_averaged_copies
from discrete_lightning.training.named_once import named_once
from discrete_lightning.training.progress import progress

Count = Literal["optimizer_steps", "batches", "epochs", "progress"]


class Annealed(Protocol):
    """A number that a schedule moves: called it gives the number, `set` changes it."""

    def __call__(self) -> Tensor | float:
        """The number."""

    def set(self, value: float) -> None:
        """Changes it; raises ValueError if `value` is out of range."""


class Annealing(Callback, ABC):
    """Sets numbers by a schedule at the start of every training batch.

    Base of TemperatureAnnealing, WeightAnnealing and LearningRateAnnealing; a subclass says which numbers (`find`). No number
    may have two schedules.

    Args:
        schedule: counter -> value; None sets nothing.
        count: what the counter is. "optimizer_steps": steps taken (with several optimisers, the mean number each has taken);
            "batches": batches seen; "epochs": epochs finished; "progress": the share of the run that is over, in [0, 1], by
            max_epochs or max_steps, so that `Linear(1.0, 0.1, steps=1)` goes from the start to the end of every run. All are
            constant within a window of gradient accumulation.
        log: whether to log the values.

    Raises:
        ValueError: if the schedule does not fit the counter: steps > 1 of a share, or steps < 1 of whole numbers.
    """

    logged_as: ClassVar[str] = "value"

    def __init__(self, schedule: Schedule | None, count: Count = "optimizer_steps", log: bool = True) -> None:
        if count not in get_args(Count):
            *others, last = map(repr, get_args(Count))
            raise ValueError(f"count must be {', '.join(others)} or {last}, got {count!r}")
        length = 0.0 if schedule is None else schedule.length
        if count == "progress" and length > 1 + 1e-9:  # 0.34 + (0.1 + 0.56) is 1.0000000000000002
            raise ValueError(
                f"{schedule} reaches to {length:g}, and count='progress' goes from 0 to 1: give the schedule's steps as a "
                "share of the run (steps=1 is the whole run), or count something else"
            )
        if count != "progress" and 0 < length < 1:
            raise ValueError(f"{schedule} ends before {count} 1: give whole steps, or take count='progress'")
        self.schedule, self.count, self.log_values = schedule, count, log  # Lightning takes `log` for itself

    @property
    def rule(self) -> object:
        """What the numbers follow, for messages; None if nothing is set."""
        return self.schedule

    @abstractmethod
    def find(self, trainer: Trainer, pl_module: LightningModule) -> Mapping[str, Annealed]:
        """What this callback sets, by the names under which it is logged.

        Raises:
            ValueError: if there is nothing to set.
        """

    def step(self, trainer: Trainer, batch_idx: int = 0) -> float:
        """The counter, from Lightning's own progress."""
        if self.count == "progress":
            return progress(trainer, trainer.accumulate_grad_batches)
        if self.count == "epochs":
            return trainer.current_epoch
        if self.count == "batches":
            within = batch_idx % trainer.accumulate_grad_batches
            return max(0, trainer.fit_loop.total_batch_idx - within)
        return trainer.global_step // max(1, len(trainer.optimizers))  # global_step counts every optimiser's steps

    def _set(self, trainer: Trainer, batch_idx: int = 0) -> None:
        if self.schedule is None:
            return
        step = self.step(trainer, batch_idx)
        value = self.schedule(step)
        for number in self._found.values():
            try:
                number.set(value)
            except ValueError as error:
                raise ValueError(f"{self.schedule} at {self.count} {step}: {error}") from None

    def _check_alone(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for other in trainer.callbacks:  # type: ignore[attr-defined]
            if other is self or not isinstance(other, Annealing) or other.rule is None:
                continue
            theirs = {number: name for name, number in other.find(trainer, pl_module).items()}
            shared = [(name, theirs[number]) for name, number in self._found.items() if number in theirs]
            both = [name if name == their_name else f"{name} (or {their_name})" for name, their_name in shared]
            if both:
                raise ValueError(
                    f"two callbacks anneal {', '.join(both)}: {type(self).__name__} by {self.rule} and "
                    f"{type(other).__name__} by {other.rule}. Remove one, or narrow what each sets"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._found = {} if self.rule is None else self.find(trainer, pl_module)
        if self.rule is not None:
            self._check_alone(trainer, pl_module)

    # Not in on_fit_start, which comes before a checkpoint's counters are restored.
    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is None:  # else the checkpoint has the value, and a batch may not follow
            self._set(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._set(trainer, batch_idx)
        if self.log_values:
            for name, number in self._found.items():
                pl_module.log(name, number(), prog_bar=name == "temperature", on_step=True, on_epoch=False)


def check_not_annealed(trainer: Trainer, pl_module: LightningModule, number: Annealed, by: str) -> None:
    """For modules that move a number themselves.

    Args:
        trainer: its callbacks are checked.
        pl_module: the module that moves the number.
        number: the number.
        by: how the module moves it, and what to do; the end of the error.

    Raises:
        ValueError: if a callback sets the same number.
    """
    for each in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(each, Annealing) and each.rule is not None and number in each.find(trainer, pl_module).values():
            raise ValueError(
                f"two schedules for one number: {type(each).__name__} sets it by {each.rule}, and "
                f"{type(pl_module).__name__} {by}"
            )


class ScheduledAnnealing(Annealing):
    """Anneals the `Scheduled` layers of one kind; base of TemperatureAnnealing and WeightAnnealing.

    Args:
        schedule: counter -> value; None sets nothing.
        count: see `Annealing`.
        only: glob patterns of module names (`encoder.*`); all of the kind if None.
        log: whether to log the value, as `<kind>`, or as `<kind>/<name>` if there are several.
    """

    kind: ClassVar[type[Scheduled]] = Scheduled

    def __init__(
        self,
        schedule: Schedule | None,
        count: Count = "optimizer_steps",
        only: str | list[str] | None = None,
        log: bool = True,
    ) -> None:
        super().__init__(schedule, count, log)
        self.only = [only] if isinstance(only, str) else only

    def scalars(self, module: nn.Module) -> dict[str, Scheduled]:
        """The layers of `module` that this callback sets, by name. A shared one appears once.

        Raises:
            ValueError: if there is none, or nothing matches `only`.
        """
        found = {name: child for name, child in module.named_modules() if isinstance(child, self.kind)}
        free = {name: child for name, child in found.items() if not child.learnable}
        matched = {
            name: child
            for name, child in named_once(module, self.only)
            if isinstance(child, self.kind) and not child.learnable
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

    def find(self, trainer: Trainer, pl_module: LightningModule) -> Mapping[str, Annealed]:
        found = self.scalars(pl_module)
        alone = len(found) == 1 and self.only is None
        return {self.logged_as if alone else f"{self.logged_as}/{name}": each for name, each in found.items()}

    def _set(self, trainer: Trainer, batch_idx: int = 0) -> None:
        super()._set(trainer, batch_idx)
        if self.schedule is not None:
            sync_averaged_copies(trainer, trainer.lightning_module)


class TemperatureAnnealing(ScheduledAnnealing):
    """Anneals every `Temperature` in a module that is not learned; logs `temperature`, or `temperature/<name>` of several.

    Args:
        schedule: counter -> temperature > 0; None sets nothing.
        count: "optimizer_steps", "batches", "epochs" or "progress" (the share of the run that is over): see `Annealing`.
        only: glob patterns of names, for several temperatures with different schedules.
        log: whether to log.

    Warns where the estimator of a layer does not use its temperature (LeaveOneOut, DisARM).

    Raises:
        ValueError: before training, if the module holds no temperature to set, or another callback sets the same one; later,
            if the schedule gives one <= 0.

    Example:
        >>> from discrete_lightning.schedules import Exponential, Linear, Staircase
        >>> jang = TemperatureAnnealing(Staircase(Exponential(1.0, rate=1e-5, minimum=0.5), every=500))
        >>> over_the_run = TemperatureAnnealing(Linear(10.0, 0.1, steps=1), count="progress")
    """

    kind, logged_as = Temperature, "temperature"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        for name, estimator in unused_temperatures(pl_module, set(self._found.values())).items():
            warnings.warn(
                f"TemperatureAnnealing moves {name}, which {estimator} does not use: leave the schedule out",
                stacklevel=2,
            )


def unused_temperatures(module: nn.Module, numbers: Container[object]) -> dict[str, Estimator]:
    """Those of the numbers that are temperatures only of layers whose estimator needs the loss's value, and the estimator."""
    every = list(module.named_modules(remove_duplicate=False))
    layers = {f"{name}.temperature".lstrip("."): each for name, each in every if isinstance(each, Relaxed)}
    names: dict[nn.Module, list[str]] = {}
    for name, each in every:
        if each in numbers:
            names.setdefault(each, []).append(name)
    return {
        known[0]: layers[known[0]].estimator
        for known in names.values()
        if all(name in layers and not layers[name].estimator.pathwise for name in known)
    }


class WeightAnnealing(ScheduledAnnealing):
    """Anneals the weights of loss terms: entropy bonuses (`only="bonus.choice"`), the KL of a VAE (`only="kl_weight"`).

    Args:
        schedule: counter -> weight >= 0; None sets nothing.
        only: glob patterns of names of the `LossWeight`s; required, since one schedule rarely fits all weights.
        count: "optimizer_steps", "batches", "epochs" or "progress" (the share of the run that is over): see `Annealing`.
        log: whether to log `weight/<name>`.

    Example:
        >>> from discrete_lightning.models import CategoricalVAE
        >>> from discrete_lightning.schedules import Linear
        >>> warm_up = WeightAnnealing(Linear(0.0, 1.0, steps=1000), only="kl_weight")
        >>> list(warm_up.scalars(CategoricalVAE(hidden=[8])))
        ['kl_weight']
    """

    kind, logged_as = LossWeight, "weight"

    def __init__(
        self, schedule: Schedule | None, only: str | list[str], count: Count = "optimizer_steps", log: bool = True
    ) -> None:
        super().__init__(schedule, count, only, log)
