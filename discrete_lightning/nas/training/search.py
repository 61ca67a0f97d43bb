"""Differentiable architecture search: weights and choices of a network learn together (DARTS, SNAS, GDAS and their like)."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import average_over_ranks, broadcast_, rank
from discrete_lightning.nas.cost_table import check_options
from discrete_lightning.nas.shared_draw import (
    architecture_parameters,
    expected_loss,
    one_draw,
    weight_parameters,
)
from discrete_lightning.nas.training.evaluation import Batch, SearchedNetwork
from discrete_lightning.nas.unrolled_gradient import unrolled_gradient
from discrete_lightning.schedules import Cosine
from discrete_lightning.training.annealing import check_not_annealed
from discrete_lightning.training.learning_rate_annealing import LearningRate
from discrete_lightning.training.progress import progress

_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")


class ArchitectureSearch(SearchedNetwork):
    """Searches a network for classifying images.

    In each step the choices learn on one batch and the weights on another, each with a draw of its own that all cells share,
    both gradients being taken where the step starts; one-level methods (SNAS) learn both on both batches. All ranks draw the
    same, so that they run the same operations, and gradients of what ran are averaged by one all-reduce for each step.

    Training batches are {"weights": batch, "architecture": batch} as `data.SearchSplit` serves them; a one-level method takes
    plain batches, too. Validation is of the derived network with the weights of the search, and of the network as it is
    searched.

    Args:
        method: GDAS, DARTS, SecondOrderDARTS, SNAS, or any estimator (two-level, as GDAS).
        space: what is searched.
        cost: what the found network may cost; nothing by default.
        optimizers: their settings.
        accumulate: batches for each step (the trainer's own accumulation does not know of two levels).
        image_shape: (channels, height, width).
        classes: of the task.
        retrain_epochs: written to the config of the next step.

    Raises:
        ValueError: before training, if the method, space, strategy, precision and target do not go together.

    Example:
        >>> from discrete_lightning.models import GDAS
        >>> from discrete_lightning.nn import NASBench201
        >>> search = ArchitectureSearch(GDAS(), NASBench201(channels=4, nodes=3))
        >>> search.eval()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def training_step(self, batch: Any, batch_idx: int) -> None:
        start = time.perf_counter()
        if self._window is None:
            self._window = batch_idx, int(self.choice.draws)
        self.choice.draws.fill_(self._window[1])  # one draw for the whole step, as if its batches were one
        self._micro_batches += 1
        weights_batch, architecture_batch = self._batches(batch)
        with self._own_reduction():
            if self.method.one_level:
                loss = self._one_level(weights_batch, architecture_batch)
            else:
                loss = self._two_levels(weights_batch, architecture_batch)
        self.log("train/loss", loss.detach(), prog_bar=True)
        trainer = self.trainer
        if self._micro_batches == self.accumulate or trainer.is_last_batch:
            self._step(self._micro_batches)
            self._micro_batches, self._window = 0, None
        self.search_seconds += time.perf_counter() - start

    def _one_level(self, weights_batch: Batch, architecture_batch: Batch | None) -> Tensor:
        batch = weights_batch
        if architecture_batch is not None:
            batch = (torch.cat([batch[0], architecture_batch[0]]), torch.cat([batch[1], architecture_batch[1]]))
        loss = expected_loss(self.network, lambda: self.task_loss(batch))
        self.manual_backward(loss + self._cost_term())
        return loss

    def _two_levels(self, weights_batch: Batch, architecture_batch: Batch | None) -> Tensor:
        if architecture_batch is None:
            raise ValueError(
                f"{type(self.method).__name__} learns the architecture on examples that the weights do not see, and got "
                "plain batches: wrap the data module in discrete_lightning.data.SearchSplit"
            )
        architecture = architecture_parameters(self.network)
        gradients: Sequence[Tensor] = ()
        if self._delayed():
            architecture = []
        elif self.method.second_order:
            gradients = self._unrolled(weights_batch, architecture_batch, architecture)
        else:
            weights = weight_parameters(self.network)
            with _frozen(weights):  # what only their gradients need is not kept
                loss = expected_loss(self.network, lambda: self.task_loss(architecture_batch))
            gradients = _gradients(loss + self._cost_term(), architecture)
        for parameter, gradient in zip(architecture, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        with one_draw(self.network, gradient=False):
            loss = self.task_loss(weights_batch)
        if loss.requires_grad:  # nothing learns where no connection is left
            self.manual_backward(loss)
        return loss

    def _unrolled(
        self, weights_batch: Batch, architecture_batch: Batch, architecture: Sequence[Tensor]
    ) -> list[Tensor]:
        weights = weight_parameters(self.network)
        optimizer = self.trainer.optimizers[0]
        group = optimizer.param_groups[0]
        buffers = [optimizer.state[each].get("momentum_buffer") for each in weights]

        def loss(batch: Batch, cost: bool) -> Callable[[], Tensor]:
            def value() -> Tensor:
                task = expected_loss(self.network, lambda: self.task_loss(batch))
                return task + self._cost_term() if cost else task

            return value

        # differences of gradients need float32 gradients
        with torch.autocast(self.device.type, enabled=False):
            return unrolled_gradient(
                loss(weights_batch, False),
                loss(architecture_batch, True),
                weights,
                architecture,
                step=group["lr"],
                momentum=group["momentum"],
                buffers=buffers,
                weight_decay=group["weight_decay"],
                reduce=average_over_ranks,
            )

    def _cost_term(self) -> Tensor:
        if self.target is None:
            return self.choice.logits.new_zeros(())
        return self.multiplier() * (self.choice.expected_cost() / self.target.target - 1.0)

    def _step(self, micro_batches: int) -> None:
        weights, architecture = weight_parameters(self.network), architecture_parameters(self.network)
        if self._delayed():
            for each in architecture:
                each.grad = None
            architecture = []
        # All ranks drew the same, so the same parameters have gradients on all.
        ran = [each for each in weights if each.grad is not None]
        alone = self.method.second_order  # reduced where it was made
        reduced = ran if alone else [*ran, *architecture]
        for dtype in dict.fromkeys(each.dtype for each in reduced):
            group = [each for each in reduced if each.dtype == dtype]
            gradients = average_over_ranks([each.grad for each in group if each.grad is not None])
            for parameter, gradient in zip(group, gradients, strict=True):
                parameter.grad = gradient / micro_batches if micro_batches > 1 else gradient
        if ran:
            nn.utils.clip_grad_norm_(ran, self.settings.clip)
        for index in range(2):
            wrapped: Any = self.optimizers()[index]  # type: ignore[index]
            wrapped.step()
            wrapped.zero_grad(set_to_none=True)
        self._move_multiplier()

    def _delayed(self) -> bool:
        return progress(self.trainer, self.accumulate) < self.settings.architecture_delay

    def _move_multiplier(self) -> None:
        if self.target is None or self._delayed():
            return
        likely = self.choice.cost(self.choice.scores().argmax(-1).tolist())
        excess = likely / self.target.target - 1.0
        self.multiplier.set(max(0.0, float(self.multiplier()) + self.target.rate * excess))

    def _batches(self, batch: Any) -> tuple[Batch, Batch | None]:
        if isinstance(batch, Mapping):
            return self._checked(tuple(batch["weights"])), tuple(batch["architecture"])
        return self._checked(tuple(batch)), None

    @contextmanager
    def _own_reduction(self) -> Iterator[None]:
        """DistributedDataParallel would wait for gradients of operations that did not run."""
        wrapped = self.trainer.strategy.model
        with wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext():
            yield

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        settings = self.settings
        weights = torch.optim.SGD(
            weight_parameters(self.network),
            settings.learning_rate,
            momentum=0.9,
            nesterov=not self.method.second_order,  # the unrolled step of DARTS is of plain momentum
            weight_decay=settings.weight_decay,
        )
        choices = torch.optim.Adam(
            architecture_parameters(self.network),
            settings.architecture_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=settings.architecture_weight_decay,
        )
        return [weights, choices]

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        trainer = self.trainer
        if not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
            raise ValueError(
                f"ArchitectureSearch averages gradients itself and runs on one device or under ddp; the strategy is "
                f"{type(trainer.strategy).__name__}: set trainer.strategy to auto or ddp"
            )
        allowed = _PRECISIONS if not self.method.second_order else ("32-true", "bf16-mixed", "64-true")
        if trainer.precision not in allowed:
            raise ValueError(
                f"{type(self.method).__name__} runs in {', '.join(allowed)}; trainer.precision is {trainer.precision}"
            )

    def _check_annealed_once(self) -> None:
        if self.method.temperature is not None:
            by = f"by {self.method.temperature}: remove the callback, or set the temperature of model.method"
            check_not_annealed(
                self.trainer, self, self.choice.sampler.temperature, f"{by} (to None for the callback's)"
            )
        by = "by a cosine: remove the callback, and set learning_rate and final_learning_rate of model.optimizers"
        check_not_annealed(self.trainer, self, LearningRate(self.trainer.optimizers[0]), by)

    def on_fit_start(self) -> None:
        self._check_annealed_once()
        example = torch.zeros(2, *self.image_shape, device=self.device)
        with self.trainer.precision_plugin.forward_context():
            check_options(self.network, self.trainer.precision_plugin.convert_input(example))
        if self._measured != self.measure:  # a resumed run keeps its table
            self.measure_costs()
        self.choice.limit.fill_(math.inf if self.target is None else self.target.target)
        self.choice.check_limit()

    def measure_costs(self) -> None:
        """Fills the table of costs from the network as it would be deployed; measured by rank 0, alone on its machine."""
        size = self.target.batch_size if self.target is not None and self.measure == "latency" else 1
        images = torch.zeros(size, *self.image_shape, device=self.device)
        if rank() == 0:
            table, fixed = self.space.costs(images, self.classes, self.measure)
            self.choice.costs.copy_(table)
            self.choice.fixed_cost.fill_(fixed)
        broadcast_(self.choice.costs)
        broadcast_(self.choice.fixed_cost)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        share, settings = progress(self.trainer, self.accumulate), self.settings
        rate = Cosine(settings.learning_rate, settings.final_learning_rate, steps=1)(share)
        LearningRate(self.trainer.optimizers[0]).set(rate)
        if self.method.temperature is not None:
            tau = self.method.temperature(share)
            self.choice.sampler.temperature.set(tau)
            self.log("temperature", tau, prog_bar=True, on_step=True, on_epoch=False)
        if batch_idx == 0:
            self._micro_batches, self._window = 0, None


@contextmanager
def _frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    trained = [each for each in parameters if each.requires_grad]
    try:
        for each in trained:
            each.requires_grad_(False)
        yield
    finally:
        for each in trained:
            each.requires_grad_(True)


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    found: Sequence[Tensor | None] = [None] * len(parameters)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(x) if each is None else each for x, each in zip(parameters, found, strict=True)]
