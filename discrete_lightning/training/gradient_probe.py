"""Measures the gradient that a model trains with: bias, variance, signal-to-noise and direction, against a reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import categorical_one_hot, gumbel_sigmoid
from discrete_lightning.layers.choices import is_counted, makes_choices
from discrete_lightning.layers.relaxed import Relaxed, RelaxedBernoulli, RelaxedCategorical
from discrete_lightning.training.copied_module import first_examples, quiet_copy
from discrete_lightning.training.exact_gradient import exact_gradient
from discrete_lightning.training.global_state import keep_random_state


@dataclass(frozen=True)
class _Draw(Estimator):
    """Exact draws without a gradient: what the score function needs."""

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return categorical_one_hot(logits, generator=generator)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return gumbel_sigmoid(logits.detach(), hard=True, generator=generator)


class GradientProbe(Callback):
    """Every `every` steps, compares gradient estimators on one batch, kept from the beginning; does not change the training.

    Of the gradient to the logits of all discrete layers (RelaxedCategorical, RelaxedBernoulli) of a LightningModule with
    automatic optimisation, from `samples` repetitions of its training step with each estimator:

        bias      |mean - reference| / |reference|, corrected for the noise of both
        std       sqrt(total variance of one sample) / |reference|
        snr       |reference| / sqrt(total variance of one sample)
        cosine    of the mean and the reference

    The reference is exact where the module has a method `enumerate_loss(batch)` (see below) and at most `max_states`
    states; else leave-one-out REINFORCE with `reference_samples` draws, unbiased for every loss, whose relative error
    is logged as `reference_error`.

    Everything happens in a deep copy of the module that logs nothing, with a separate random state (torch, numpy, Python) and
    without the module's hooks, which belong to other callbacks. Weights, generators, batch statistics, EMA codebooks, metrics
    and the counts of other callbacks do not change, so a run with the probe equals one without to the last bit. Where a hook
    changes outputs, the probe measures the module without it.

    Logged as `gradient/<estimator>/<figure>`, the mean over the ranks.

    A module offers enumeration by `enumerate_loss(batch) -> (layer, logits, function)`: its one discrete layer, the logits
    (B, *event) it gets, and a function from samples (S, B, *event) to losses (S, B), the training loss being the mean over B
    of the expectation, plus terms that do not depend on the sample.

    Args:
        every: steps between two measurements.
        alternatives: estimators to compare with the one in use.
        samples: repetitions an estimator, >= 2.
        reference_samples: draws of the leave-one-out reference, >= 2.
        batch_size: examples of the first training batch that are kept.
        max_states: largest number of states of an example for which all are enumerated.

    Raises:
        ValueError: in setup, if the module has no discrete layer, optimises manually or cannot use an alternative.
    """

    def __init__(
        self,
        every: int = 100,
        alternatives: Sequence[Estimator] = (),
        samples: int = 32,
        reference_samples: int = 512,
        batch_size: int = 8,
        max_states: int = 4096,
    ) -> None:
        for name, value, least in (("every", every, 1), ("samples", samples, 2), ("batch_size", batch_size, 1)):
            if value < least:
                raise ValueError(f"GradientProbe: {name} must be at least {least}, got {value}")
        if reference_samples < 2:
            raise ValueError(f"GradientProbe: reference_samples must be at least 2, got {reference_samples}")
        self.every, self.alternatives, self.samples = every, list(alternatives), samples
        self.reference_samples, self.batch_size, self.max_states = reference_samples, batch_size, max_states
        self._batch: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        layers = _layers(pl_module)
        if not layers:
            raise ValueError(f"GradientProbe finds no discrete layer in {type(pl_module).__name__}; leave it out")
        if not pl_module.automatic_optimization:
            raise ValueError(
                f"GradientProbe repeats training_step, and {type(pl_module).__name__} uses manual optimisation: its step would "
                "move the weights. Leave the callback out"
            )
        for estimator in self.alternatives:
            for layer in layers:
                current = layer.estimator
                layer.set_estimator(estimator)  # raises where the estimator cannot be used in the layer
                layer.set_estimator(current)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._batch is None:
            self._batch = first_examples(batch, self.batch_size)
        if trainer.global_step % self.every or batch_idx % trainer.accumulate_grad_batches:
            return
        figures = self.measure(trainer, pl_module)
        pl_module.log_dict({f"gradient/{name}": value for name, value in figures.items()}, sync_dist=True)

    def rank_state(self) -> Any:
        return self._batch if _is_plain(self._batch) else None

    def set_rank_state(self, state: Any, device: torch.device) -> None:
        self._batch = move_data_to_device(state, device)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        """The figures of the held batch, by `<estimator>/<figure>`."""
        with keep_random_state(), torch.enable_grad():
            module = quiet_copy(pl_module, trainer)
            torch.manual_seed(trainer.global_step)
            current = _layers(module)[0].estimator
            step = _Step(module, self._batch, trainer)
            for other in self.alternatives:
                if other.softmax != current.softmax:
                    raise ValueError(
                        f"GradientProbe compares gradients of one expectation: {other} and {current}, which is in use, "
                        "draw from different distributions of the same logits; leave that alternative out"
                    )
            reference, noise = self._reference(step, current)
            tiny = torch.finfo(torch.float32).tiny
            size = (reference.square().sum() - noise).clamp_min(tiny).sqrt()  # |reference| without its own noise
            figures = {"reference_error": (noise.sqrt() / size).item()}
            for estimator in dict.fromkeys([current, *self.alternatives]):
                samples = torch.stack([step.gradient(estimator) for _ in range(self.samples)])
                mean, variance = samples.mean(0), samples.var(0).sum()
                squared = (mean - reference).square().sum() - variance / self.samples - noise
                values = {
                    "bias": squared.clamp_min(0).sqrt() / size,
                    "std": variance.sqrt() / size,
                    "snr": size / variance.sqrt().clamp_min(tiny),
                    "cosine": torch.nn.functional.cosine_similarity(mean, reference, dim=0),
                }
                figures |= {f"{type(estimator).__name__}/{key}": value.item() for key, value in values.items()}
        return figures

    def _reference(self, step: "_Step", current: Estimator) -> tuple[Tensor, Tensor]:
        """The reference gradient, and the total variance of its mean."""
        exact = exact_gradient(step.module, step.batch, self.max_states)
        if exact is not None:
            return exact + step.direct_gradient(), exact.new_zeros(())
        if not current.softmax:
            raise ValueError(
                f"GradientProbe takes its reference from draws of softmax(logits) where there are more than {self.max_states} "
                f"states, and {current} draws from another distribution: raise max_states, or leave the callback out"
            )
        draws = [step.scored_draw() for _ in range(self.reference_samples)]
        losses = torch.stack([loss for loss, _, _ in draws])
        others = (losses.sum() - losses) / (len(losses) - 1)
        samples = torch.stack([score for _, score, _ in draws]) * (losses - others).unsqueeze(1)
        samples += torch.stack([direct for _, _, direct in draws])
        return samples.mean(0), samples.var(0).sum() / len(samples)


class _Step:
    """Training steps of a copy of the module on one batch, with gradients to the logits of its discrete layers."""

    def __init__(self, module: LightningModule, batch: Any, trainer: Trainer) -> None:
        self.module, self.batch = module, batch
        self._context: Callable[[], Any] = trainer.precision_plugin.train_step_context
        self._logits: list[Tensor] = []
        self._layers = _layers(module)
        for layer in self._layers:
            layer.set_estimator = _anything.__get__(layer)  # type: ignore[method-assign]
            layer.forward = self._watched(layer.forward)  # type: ignore[method-assign]
            layer.expectation = self._watched(layer.expectation)  # type: ignore[method-assign]

    def _watched(self, method: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **kwargs: Any) -> Tensor:
            args = tuple(self._tap(arg) if isinstance(arg, Tensor) else arg for arg in args)
            return method(*args, **kwargs)

        return call

    def _tap(self, logits: Tensor) -> Tensor:
        tapped = logits if logits.requires_grad else logits.detach().requires_grad_()
        self._logits.append(tapped)
        return tapped

    def _run(self, estimator: Estimator) -> Tensor:
        self._logits = []
        for layer in self._layers:
            layer.estimator = estimator
        with self._context():
            loss = self.module.training_step(self.batch, 0)
        if not self._logits:
            raise ValueError(
                f"GradientProbe finds no discrete layer in the training step of {type(self.module).__name__}: it holds one, "
                "and this step does not use it; leave the callback out"
            )
        value: Tensor = loss["loss"] if isinstance(loss, dict) else loss  # type: ignore[assignment]
        return value

    def _flat_gradient(self, loss: Tensor) -> Tensor:
        gradients: tuple[Tensor | None, ...] = (None,) * len(self._logits)
        if loss.requires_grad:  # nothing but the sample may depend on the logits, and draws carry no gradient
            gradients = torch.autograd.grad(loss, self._logits, allow_unused=True)
        parts = [
            (torch.zeros_like(logits) if gradient is None else gradient).flatten().float()
            for logits, gradient in zip(self._logits, gradients, strict=True)
        ]
        return torch.cat(parts)

    def gradient(self, estimator: Estimator) -> Tensor:
        """One sample of the estimator's gradient, flat float32."""
        return self._flat_gradient(self._run(estimator))

    def direct_gradient(self) -> Tensor:
        """The gradient of the terms of the loss that depend on the logits without the sample (KL, entropy bonus)."""
        return self._flat_gradient(self._run(_Draw()))

    def scored_draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, gradient of the draw's log-probability, direct gradient) of one exact draw."""
        drawn: list[Tensor] = []
        recorder = _Recorder(drawn)
        loss = self._run(recorder)
        score = [
            (sample - (torch.sigmoid(logits) if layer_binary else torch.softmax(logits, -1))).detach().flatten()
            for sample, logits, layer_binary in zip(
                (sample.float() for sample in drawn),
                (logits.float() for logits in self._logits),
                recorder.binary,
                strict=True,
            )
        ]
        return loss.detach().float(), torch.cat(score), self._flat_gradient(loss)


class _Recorder(Estimator):
    """_Draw that remembers what it drew."""

    def __init__(self, drawn: list[Tensor]) -> None:
        self.drawn, self.binary = drawn, list[bool]()

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return self._keep(_Draw()(logits, tau, generator), False)

    def bernoulli(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return self._keep(_Draw().bernoulli(logits, tau, generator), True)

    def _keep(self, sample: Tensor, binary: bool) -> Tensor:
        self.drawn.append(sample)
        self.binary.append(binary)
        return sample


def _anything(self: Relaxed, estimator: Estimator) -> None:
    self.estimator = estimator


def _layers(module: torch.nn.Module) -> list[RelaxedCategorical | RelaxedBernoulli]:
    """The layers that sample, but for those of architecture choices, which are not called as layers."""
    held = {
        each for outer in module.modules() if makes_choices(outer) and not is_counted(outer) for each in outer.modules()
    }
    kinds = RelaxedCategorical | RelaxedBernoulli
    return [layer for layer in module.modules() if isinstance(layer, kinds) and layer not in held]


def _is_plain(batch: Any) -> bool:
    """Whether a checkpoint can hold it."""
    if type(batch) in (list, tuple):
        return all(_is_plain(each) for each in batch)
    return all(_is_plain(each) for each in batch.values()) if type(batch) is dict else type(batch) is Tensor
