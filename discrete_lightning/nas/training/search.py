"""Differentiable architecture search: weights and choices of a network learn together (DARTS, SNAS, GDAS and their like)."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._arguments import check_at_least, check_image_shape
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.nas.cost_table import check_options
from discrete_lightning.nas.shared_draw import architecture_parameters, expected_loss, one_draw, weight_parameters
from discrete_lightning.nas.spaces.nasbench201 import NASBench201
from discrete_lightning.nas.spaces.space import SearchSpace
from discrete_lightning.nas.training.evaluation import SearchedNetwork
from discrete_lightning.nas.training.gradients import (
    add_gradients,
    frozen,
    gradients_of,
    unrolled_choice_gradients,
)
from discrete_lightning.nas.training.labelled_images import Batch
from discrete_lightning.nas.training.method import GDAS, Sampled, SearchMethod
from discrete_lightning.nas.training.retrain import retraining_config
from discrete_lightning.nas.training.settings import CostTarget, SearchOptimizers
from discrete_lightning.nas.training.training_cost import StepFlops, affordable
from discrete_lightning.protocols import HasBatchSize
from discrete_lightning.schedules import Cosine
from discrete_lightning.training._lightning_private import rewind_batches
from discrete_lightning.training.annealing import check_not_annealed
from discrete_lightning.training.exact_resume import is_exact
from discrete_lightning.training.learning_rate_annealing import LearningRate
from discrete_lightning.training.own_reduction import average_gradients, check_own_reduction, own_reduction
from discrete_lightning.training.progress import progress

_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")


class ArchitectureSearch(SearchedNetwork):
    """Searches a network for classifying images.

    In each step the choices learn on one batch and the weights on another. Each of the two gradients is taken at the start of
    the step and uses a separate draw, which all cells share. One-level methods (SNAS) learn both on both batches. All ranks
    draw the same and run the same operations; their gradients are averaged by one all-reduce a step.

    Training batches are {"weights": batch, "architecture": batch} as `data.SearchSplit` serves them; a one-level method takes
    plain batches, too. For evaluation see `SearchedNetwork`.

    Args:
        method: GDAS, DARTS, SecondOrderDARTS, SNAS, or any estimator (two-level, as GDAS).
        space: what is searched.
        cost: a limit of what the found network costs; none by default.
        optimizers: their settings.
        accumulate: batches for each step (the trainer's own accumulation does not support two levels).
        image_shape: (channels, height, width).
        classes: number of classes.
        retrain_epochs: epochs of the next step, the training of what was found.

    Raises:
        ValueError: before training, if the method, space, strategy, precision and target do not go together, or a callback
            anneals what the search anneals itself (the temperature of its method, the learning rate of the weights).

    Example:
        >>> from discrete_lightning.models import GDAS
        >>> from discrete_lightning.nn import NASBench201
        >>> search = ArchitectureSearch(GDAS(), NASBench201(channels=4, nodes=3))
        >>> search.eval()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        method: SearchMethod | Estimator | None = None,
        space: SearchSpace | None = None,
        cost: CostTarget | None = None,
        optimizers: SearchOptimizers | None = None,
        accumulate: int = 1,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        classes: int = 10,
        retrain_epochs: int = 10,
    ) -> None:
        check_at_least(1, accumulate=accumulate, retrain_epochs=retrain_epochs, classes=classes)
        check_image_shape(image_shape)
        space, method = space or NASBench201(), method or GDAS()
        method = Sampled(method) if isinstance(method, Estimator) else method
        if accumulate > 1 and method.second_order:
            raise ValueError(
                f"SecondOrderDARTS needs the batch of a step at once, and accumulate={accumulate} splits it: "
                "use accumulate=1 and a batch size that fits"
            )
        super().__init__(space, method.estimator, cost, image_shape, classes)
        self.automatic_optimization = False
        self.method, self.settings = method, optimizers or SearchOptimizers()
        self.accumulate, self.retrain_epochs = accumulate, retrain_epochs
        self.multiplier = LossWeight(0.0)  # of the cost's term in the loss
        self.flops = StepFlops()
        self._measured: str | None = None  # what the table of costs in a checkpoint is measured in
        self._micro_batches = 0  # of the open window: the batches of one step
        self._window: tuple[int, int] | None = None  # index of its first batch, number of its first draw

    # What a subclass may change.

    def task_loss(self, batch: Batch) -> Tensor:
        """The loss of the network, as its choices are now, on a batch: cross-entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images).float(), labels)

    # Training: one step on a window of batches.

    def training_step(self, batch: Any, batch_idx: int) -> None:
        if self._window is None:
            self._window = batch_idx, self.choice.draws
        self.choice.draws = self._window[1]  # one draw for the whole step, as if its batches were one
        self._micro_batches += 1
        weights_batch, architecture_batch = self._batches(batch, batch_idx)
        with own_reduction(self), self.flops.count(self.current_epoch, batch_idx):
            if self.method.one_level:
                loss = self._one_level(weights_batch, architecture_batch)
            else:
                loss = self._two_levels(weights_batch, architecture_batch)
        self.log("train/loss", loss.detach(), prog_bar=True)
        if self._micro_batches == self.accumulate or self.trainer.is_last_batch:
            self._step(self._micro_batches)
            self._micro_batches, self._window = 0, None

    def has_pending_gradients(self) -> bool:
        """Whether the window of `accumulate` batches is not complete."""
        return self._micro_batches > 0

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
            gradients = self._unrolled(weights_batch, architecture_batch)
        else:
            weights = weight_parameters(self.network)
            with frozen(weights):
                loss = expected_loss(self.network, lambda: self.task_loss(architecture_batch))
            gradients = gradients_of(loss + self._cost_term(), architecture)
        add_gradients(architecture, gradients)
        with one_draw(self.network, gradient=False):
            loss = self.task_loss(weights_batch)
        if loss.requires_grad:  # nothing learns where no connection is left
            self.manual_backward(loss)
        return loss

    def _unrolled(self, weights_batch: Batch, architecture_batch: Batch) -> list[Tensor]:
        def loss(batch: Batch) -> Tensor:
            return expected_loss(self.network, lambda: self.task_loss(batch))

        # differences of gradients need float32 gradients
        with torch.autocast(self.device.type, enabled=False):
            return unrolled_choice_gradients(
                self.network,
                self.trainer.optimizers[0],
                lambda: loss(weights_batch),
                lambda: loss(architecture_batch) + self._cost_term(),
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
        # of the second order the choices' gradients were averaged where they were made
        average_gradients(ran if self.method.second_order else [*ran, *architecture], micro_batches)
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

    def _batches(self, batch: Any, batch_idx: int) -> tuple[Batch, Batch | None]:
        if isinstance(batch, Mapping) and {"weights", "architecture"} <= batch.keys():
            return self.examples(batch["weights"], batch_idx), self.examples(batch["architecture"], batch_idx)
        return self.examples(batch, batch_idx), None

    def check_batch(self, batch: Any) -> None:
        self._batches(batch, 0)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        # the unrolled step of second-order DARTS has plain momentum
        return self.settings.build(self.network, nesterov=not self.method.second_order)

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        second_order = self.method.second_order  # differences of gradients need float32 weights
        check_own_reduction(self, tuple(each for each in _PRECISIONS if not (second_order and each == "bf16-true")))

    def _check_annealed_once(self) -> None:
        if self.method.temperature is not None:
            by = f"by {self.method.temperature}: remove the callback, or give the method temperature=None"
            check_not_annealed(self.trainer, self, self.choice.sampler.temperature, by)
        by = "by a cosine: remove the callback, and set learning_rate and final_learning_rate of model.optimizers"
        check_not_annealed(self.trainer, self, LearningRate(self.trainer.optimizers[0]), by)

    def on_fit_start(self) -> None:
        self._check_annealed_once()
        example = torch.zeros(2, *self.image_shape, device=self.device)
        with self.trainer.precision_plugin.forward_context():
            check_options(self.network, self.trainer.precision_plugin.convert_input(example))
        if self._measured != self.measure:  # a resumed run keeps its table
            self.measure_costs()
        self.choice.limit = math.inf if self.target is None else self.target.target
        self.choice.check_limit()

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

    # For ArchitectureWriter, in addition to SearchedNetwork.

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        if self.target is not None:
            self.log("search/expected_cost", self.choice.expected_cost().detach(), rank_zero_only=True)
            self.log("search/multiplier", self.multiplier(), rank_zero_only=True)

    def architecture_record(self) -> dict[str, Any]:
        return super().architecture_record() | {"method": str(self.method)}

    def random_architectures(self) -> list[list[str]]:
        """Random architectures within the target whose trainings, each on all training images for `retrain_epochs`, cost in all
        as many floating-point operations as the search; between 1 and 20."""
        generator = torch.Generator().manual_seed(self.choice.seed)
        costs = None if self.target is None else self.choice
        drawn = (self.space.random(generator, costs) for _ in itertools.count())
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        size = data.batch_size if isinstance(data, HasBatchSize) else 64
        images = torch.zeros(2 * size, *self.image_shape, device=self.device)
        batches = self.trainer.fit_loop.total_batch_idx + 1
        budget = self.flops.total(batches)
        steps = batches / max(1, len(self.flops.counted)) * self.retrain_epochs  # of a stream, too
        return affordable(drawn, budget, self.space, images, self.classes, steps)

    def retraining_config(self) -> dict[str, Any]:
        """The config of the next step: training the found architecture alone, beside random ones at the cost of this search."""
        found, random = self.architecture(), self.random_architectures()
        return retraining_config(self.space, found, random, self.image_shape, self.classes, self.retrain_epochs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint made in the middle of a validation, or without `ExactResume` in the middle of a step, is one of its
        start: the counters of draws and batches are set back. Weights do not change in between."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["search_flops"] = self.flops.counted
        checkpoint["cost_measure"] = self.measure
        draws = self._draws_before_validation
        if self._window is not None and is_exact(checkpoint):
            checkpoint["search_window"] = [self._micro_batches, *self._window]
        elif self._window is not None:
            first, draws = self._window
            rewind_batches(checkpoint, first)
        if draws is not None:
            for name, module in self.named_modules(remove_duplicate=False):
                if module is self.choice:  # known by a name in every OneOf
                    checkpoint["state_dict"][f"{name}.draws"] = torch.tensor(draws)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.flops.counted = dict(checkpoint.get("search_flops", {}))
        self._measured = checkpoint.get("cost_measure")
        micro_batches, *window = checkpoint.get("search_window", [0])
        self._micro_batches, self._window = micro_batches, (window[0], window[1]) if window else None
