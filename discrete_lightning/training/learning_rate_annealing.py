"""A learning rate as a `Schedule`: the value itself, not a factor, by the counters of the other annealing callbacks."""

from collections.abc import Mapping
from dataclasses import dataclass

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from discrete_lightning.schedules import Schedule
from discrete_lightning.training.annealing import Annealed, Annealing, Count


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of all parameter groups of an optimiser, as a number that a schedule sets."""

    optimizer: Optimizer

    def __call__(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def set(self, value: float) -> None:
        """Sets it; raises ValueError if it is negative."""
        if not value >= 0:
            raise ValueError(f"a learning rate must not be negative, got {value}")
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # of a compiled or captured optimiser, which reads it on the device
                group["lr"].fill_(value)
            else:
                group["lr"] = value


class LearningRateAnnealing(Annealing):
    """Anneals the learning rate of an optimiser, of all its parameter groups alike; logs `learning_rate`.

    Use it instead of a torch scheduler in `configure_optimizers`. With count="progress" it needs no number of steps, and
    nothing has to be saved for a resumed run.

    Args:
        schedule: counter -> learning rate >= 0; None sets nothing.
        count: "progress" (the share of the run that is over), "optimizer_steps", "batches" or "epochs": see `Annealing`.
        optimizer: which of the module's optimisers, from 0 on; all if None.
        log: whether to log `learning_rate`, or `learning_rate/<number>` of several optimisers.

    Raises:
        ValueError: before training, if there is no such optimiser, or a torch scheduler or another callback moves its
            learning rate, too; later, if the schedule gives a negative one.

    Example:
        >>> from discrete_lightning.schedules import Cosine
        >>> to_zero = LearningRateAnnealing(Cosine(3e-4, 0.0, steps=1))
    """

    logged_as = "learning_rate"

    def __init__(
        self, schedule: Schedule | None, count: Count = "progress", optimizer: int | None = None, log: bool = True
    ) -> None:
        super().__init__(schedule, count, log)
        self.optimizer = optimizer

    def find(self, trainer: Trainer, pl_module: LightningModule) -> Mapping[str, Annealed]:
        there = dict(enumerate(trainer.optimizers))
        chosen = {i: each for i, each in there.items() if self.optimizer in (None, i)}
        if not chosen:
            raise ValueError(
                f"LearningRateAnnealing(optimizer={self.optimizer}): {type(pl_module).__name__} has {len(there)} optimiser(s), "
                "numbered from 0 on. Change `optimizer`, or leave this callback out."
            )
        taken = {id(config.scheduler.optimizer): type(config.scheduler) for config in trainer.lr_scheduler_configs}
        for number, optimizer in chosen.items():
            if id(optimizer) in taken:
                raise ValueError(
                    f"{taken[id(optimizer)].__name__} of configure_optimizers and LearningRateAnnealing both set the learning "
                    f"rate of optimiser {number} of {type(pl_module).__name__}: remove one"
                )
        name = self.logged_as
        return {name if len(there) == 1 else f"{name}/{i}": LearningRate(each) for i, each in chosen.items()}
