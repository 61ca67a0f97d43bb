"""A temperature that is steered by the measured bias of the relaxation, in place of a schedule."""

from collections.abc import Container
from typing import Any, ClassVar

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from discrete_lightning.distributed import all_reduce_sum
from discrete_lightning.estimators import GumbelSoftmax
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.relaxed import Relaxed
from discrete_lightning.layers.temperature import Scheduled, Temperature
from discrete_lightning.training.annealing import ScheduledAnnealing, unused_temperatures
from discrete_lightning.training.averaging import sync_averaged_copies
from discrete_lightning.training.bias_control import BiasControl
from discrete_lightning.training.copied_module import (
    first_examples,
    holds_tensor,
    losses_of_step,
    quiet_copy,
    restart_draws,
    seed_quietly,
)
from discrete_lightning.training.global_state import keep_random_state
from discrete_lightning.training.progress import progress

_DISCRETE = 1e-3  # a temperature at which samples are choices


class AdaptiveTemperature(ScheduledAnnealing):
    """Moves every `Temperature` of a module that is not learned by the bias of the relaxation, measured while training.

    Every `every` optimiser steps the training step is repeated twice on the first examples of the batch, with the same
    noise: at the current tau, and at a tau so small that samples are choices. The bias is the second loss minus the
    first. It may be as large as (1 - share)^3 of the largest one so far, where `share` of the run is over, plus the
    standard error of the mean training loss since the last measurement; tau falls where it is larger and rises where it
    is smaller, by a bounded factor: see `BiasControl` for the formula. So the bias is annealed, not tau, and in the end
    the loss does not show whether choices are relaxed or discrete.

    A layer whose samples are hard (straight-through) is measured with `GumbelSoftmax` in the place of its estimator.
    All temperatures that the callback sets have one value; take several callbacks with different `only` for values of
    their own. A module of yours needs a layer of the package, or a `Temperature` that it divides its logits by.

    What is measured is a copy: parameters, buffers, batch statistics, codebooks, metrics, gradients, modes and random
    states of the run stay as they are, also with manual optimisation by `self.optimizers()` and `manual_backward`.
    Figures are those of all ranks, which set the same tau. State is in checkpoints; what a rank has seen since the last
    measurement is kept by `ExactResume`.

    It is for models of which no good schedule is known: where one is known, take `TemperatureAnnealing`. Of nine fixed
    schedules and this callback, it ranked third to sixth on three short trainings, far from the worst and within one
    standard error of the best on one of them (benchmarks/adaptive_temperature.py).

    Logs `temperature` (or `temperature/<name>` of several), and with each measurement `relaxation/bias` and
    `relaxation/noise` (with `only`, `relaxation/<name>/...`, by the name of the first temperature).

    Args:
        every: optimiser steps between two measurements, >= 1. A measurement costs about half a training step.
        minimum, maximum: range of tau, which starts at `maximum`. 2 suits relaxed samples, 1 straight-through
            estimators.
        only: glob patterns of names, as in `TemperatureAnnealing`.
        examples: how many of a batch are measured, >= 1; None: all.
        log: whether to log.

    Raises:
        ValueError: if an argument is out of range; before training, if the module holds no temperature to set, an
            estimator does not use it, another callback or the module sets it, or the run has no end; at the first
            measurement, if batches hold no tensor (a search, or environments), or the training step gives no loss
            (FeatureSelection).

    Example:
        >>> from discrete_lightning.models import CategoricalVAE
        >>> callback = AdaptiveTemperature(every=50)
        >>> list(callback.scalars(CategoricalVAE(hidden=[8])))
        ['latent.temperature']
    """

    kind: ClassVar[type[Scheduled]] = Temperature
    logged_as: ClassVar[str] = "temperature"

    def __init__(
        self,
        every: int = 50,
        minimum: float = 0.1,
        maximum: float = 2.0,
        only: str | list[str] | None = None,
        examples: int | None = 16,
        log: bool = True,
    ) -> None:
        super().__init__(None, "optimizer_steps", only, log)
        check_at_least(1, every=every, **({} if examples is None else {"examples": examples}))
        self.every, self.examples = every, examples
        self.control = BiasControl(minimum, maximum)
        self._measured_at = 0  # step
        self._losses: list[Tensor] = []  # of this rank since then, 0-dim

    @property
    def state_key(self) -> str:
        return self._generate_state_key(only=self.only)

    @property
    def rule(self) -> object:
        return "the measured bias"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # a checkpoint's state comes after it
            self.control.reset()
            self._measured_at, self._losses = 0, []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        try:
            progress(trainer)
        except ValueError as error:
            raise ValueError(f"AdaptiveTemperature: {error}") from None
        for name, estimator in unused_temperatures(pl_module, set(self._found.values())).items():
            raise ValueError(
                f"AdaptiveTemperature cannot steer {name}, which {estimator} does not use: leave it out, or narrow "
                "`only`"
            )

    def _set(self, trainer: Trainer, batch_idx: int = 0) -> None:
        for number in self._found.values():
            number.set(self.control.tau)
        sync_averaged_copies(trainer, trainer.lightning_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        step = int(self.step(trainer, batch_idx))
        if step % self.every == 0 and step > self._measured_at:
            self._measure(trainer, pl_module, batch, batch_idx)
            self._measured_at, self._losses = step, []
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        scaler = getattr(trainer.precision_plugin, "scaler", None)  # of fp16; the loss comes multiplied
        whole = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        loss = loss.detach() if scaler is None else loss.detach() / scaler.get_scale()
        self._losses.append(loss if whole == 1 else loss * whole)

    def _measure(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        bias = self.bias(trainer, pl_module, batch, batch_idx)
        share = progress(trainer, trainer.accumulate_grad_batches)
        self.control.update(share, bias, self._standard_error(pl_module.device))
        if self.log_values:
            place = "relaxation" if self.only is None else f"relaxation/{next(iter(self.scalars(pl_module)))}"
            pl_module.log_dict({f"{place}/bias": bias, f"{place}/noise": self.control.state.noise})

    def bias(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int = 0) -> float:
        """Discrete loss - relaxed loss on the first examples of a batch, the mean of the ranks; NaN if none has one."""
        if not holds_tensor(batch):
            raise ValueError(
                "AdaptiveTemperature repeats a training step on the same examples, and a batch of "
                f"{type(pl_module).__name__} holds none (it is {type(batch).__name__}): take a schedule"
            )
        with keep_random_state(), torch.enable_grad():
            copied = quiet_copy(pl_module, trainer)
            steered = {each for each in self.scalars(copied).values() if isinstance(each, Temperature)}
            relax(copied, steered)
            relaxed = self._losses_of(copied, trainer, pl_module, batch, batch_idx)
            restart_draws(copied, pl_module)
            for each in steered:
                each.minimum = _DISCRETE
                each.set(_DISCRETE)
            discrete = self._losses_of(copied, trainer, pl_module, batch, batch_idx)
        # a step may leave out a batch whose loss is not finite: then there is nothing to compare
        compared = zip(relaxed, discrete, strict=False) if len(relaxed) == len(discrete) else ()
        found = [(b - a).float() for a, b in compared]
        total = torch.stack(found).mean() if found else torch.zeros((), device=pl_module.device)
        total, count = all_reduce_sum(torch.stack([total, torch.full_like(total, float(bool(found)))])).tolist()
        return total / count if count else float("nan")

    def _losses_of(
        self, copied: LightningModule, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> list[Tensor]:
        seed_quietly(trainer.global_step, module.device)
        with trainer.precision_plugin.train_step_context():
            losses = losses_of_step(copied, module, first_examples(batch, self.examples), batch_idx)
        if not losses and not module.automatic_optimization:
            raise ValueError(
                f"AdaptiveTemperature finds no loss in the training step of {type(module).__name__}, which optimises "
                "manually: call `manual_backward`, or take a schedule"
            )
        return losses

    def _standard_error(self, device: torch.device) -> float:
        """Of the mean of the losses since the last measurement, over all ranks; 0 of fewer than 2."""
        losses = torch.stack(self._losses).flatten().float() if self._losses else torch.zeros(0, device=device)
        losses = losses[losses.isfinite()]
        count, total = all_reduce_sum(torch.stack([losses.new_tensor(float(len(losses))), losses.sum()])).tolist()
        if count < 2:
            return 0.0
        squares = float(all_reduce_sum((losses - total / count).square().sum()))
        return float((squares / (count - 1) / count) ** 0.5)

    def state_dict(self) -> dict[str, Any]:
        return {"control": self.control.state_dict(), "measured_at": self._measured_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.control.load_state_dict(state_dict["control"])
        self._measured_at = state_dict["measured_at"]

    def rank_state(self) -> Any:
        return torch.stack(self._losses).flatten() if self._losses else None

    def set_rank_state(self, state: Any, device: torch.device) -> None:
        self._losses = [] if state is None else list(move_data_to_device(state, device).unbind())


def relax(module: nn.Module, temperatures: Container[object]) -> None:
    """Gives layers of these temperatures relaxed samples where theirs are hard."""
    for layer in module.modules():
        if isinstance(layer, Relaxed) and layer.temperature in temperatures and layer.estimator.hard:
            layer.estimator = GumbelSoftmax()
