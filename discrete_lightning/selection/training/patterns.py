"""A network that is trained dense, then kept as it is while N:M masks of its weights are learned, in one fit (MaskLLM).

first share of the run     loss = cross-entropy of network(x; w),               w is trained
the rest                   loss = cross-entropy of network(x; w * mask(a))      a is trained, w is not
                                  - kept_weight * E sum |w * mask|^2
"""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchmetrics import MeanMetric

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._arguments import check_not_negative, check_positive
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.layers.reaching import reaching
from discrete_lightning.layers.temperature import LossWeight, Temperature
from discrete_lightning.selection.mask_linear import maskable
from discrete_lightning.selection.pattern_mask import PatternMask, magnitude_pattern
from discrete_lightning.training.annealing import check_not_annealed
from discrete_lightning.training.batches import Examples, examples_of
from discrete_lightning.training.learning_rate_annealing import LearningRate
from discrete_lightning.training.progress import progress
from discrete_lightning.training.restorable import RestorableModule

_KINDS = ("dense", "magnitude", "learned")


def gap_closed(dense: Tensor, magnitude: Tensor, learned: Tensor) -> Tensor:
    """The share of the loss by magnitude pruning that learned masks win back: (magnitude - learned) / (magnitude - dense).

    Args:
        dense: loss of the dense network, 0-dim.
        magnitude: of the same with its magnitude pattern.
        learned: of the same with learned masks.

    Returns:
        0-dim: 0 for masks no better than magnitude, 1 for masks as good as the dense network; above it if they are better;
        infinite or NaN where there is no gap.

    Example:
        >>> gap_closed(torch.tensor(1.5), torch.tensor(2.5), torch.tensor(1.75))
        tensor(0.7500)
    """
    return (magnitude - learned) / (magnitude - dense)


class PatternLearning(RestorableModule, PrivateState):
    """Trains a network, then freezes it and learns which n of each m weights to keep.

    Batches are `(inputs, targets)`: the network gives logits (B, *, K) for integer targets (B, *): classes, or the next
    tokens. Logged of validation and test: `nats`, the cross-entropy with the learned masks; `dense_nats` of the network
    without masks; `magnitude_nats` of the one-shot mask; `gap_closed`. Until masks are learned they are those of magnitude.

    While masks are learned the network is in eval(): no dropout, and batch norm keeps its statistics. Both learning rates
    fall to 0 along half a cosine, each over its part of the run. `TemperatureAnnealing` moves the temperature.

    Args:
        network: inputs to logits.
        n: weights kept of a group, 1 <= n < m.
        m: weights of a group, along the input dimension.
        estimator: see PatternMask; `GumbelSoftmax` by default.
        only: glob patterns of names of the layers with masks (`blocks.*`): Linear and convolutions; all if None.
        dense_share: of the run, in [0, 1), that trains the network; 0 for one that is trained already.
        prior: strength of the prior of the magnitude pattern, see `PatternMask.set_prior`.
        temperature: of the estimator, shared by all masks.
        scale: kappa, see PatternMask; `WeightAnnealing(only="scale")` moves it.
        kept_weight: of the term that keeps the weights that are left large, >= 0.
        learning_rate: of AdamW, for the network.
        mask_learning_rate: for the logits of the masks.

    Attributes:
        network: with its dense weights.
        learning_masks: whether the network rests, and masks are learned.
        masks: PatternMasks by the names of their layers, "/" for "."; of a network that is one layer "/".

    Raises:
        ValueError: if an argument is out of range, or a layer takes no masks (see `mask_linear`); before training, if a
            callback sets the learning rate.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> model = PatternLearning(network)
        >>> model.eval()(torch.rand(2, 4, 4)).shape, int((model.sparse_network()[1].weight != 0).sum())
        (torch.Size([2, 3]), 64)
    """

    learning_masks: bool

    def __init__(
        self,
        network: nn.Module,
        n: int = 2,
        m: int = 4,
        estimator: Estimator | None = None,
        only: str | list[str] | None = None,
        dense_share: float = 0.5,
        prior: float = 3.0,
        temperature: float = 1.0,
        scale: float = 1.0,
        kept_weight: float = 1e-5,
        learning_rate: float = 3e-3,
        mask_learning_rate: float = 0.3,
    ) -> None:
        super().__init__()
        if not 0 <= dense_share < 1:
            raise ValueError(
                f"dense_share is the share of the run that trains the network, in [0, 1), got {dense_share}"
            )
        check_positive(learning_rate=learning_rate, mask_learning_rate=mask_learning_rate)
        check_not_negative(prior=prior, kept_weight=kept_weight)
        self.network, self.dense_share, self.prior = network, dense_share, prior
        self.learning_rate, self.mask_learning_rate = learning_rate, mask_learning_rate
        self.temperature, self.scale = Temperature(temperature), LossWeight(scale)
        self.kept_weight = LossWeight(kept_weight)
        self.masks = nn.ModuleDict()
        for name, layer in maskable(network, m, only).items():
            shape = tuple(layer.weight.shape)  # type: ignore[arg-type]
            mask = PatternMask(shape, n, m, estimator, self.temperature, self.scale)
            self.masks[name.replace(".", "/") or "/"] = mask
        self.register_number("learning_masks", False)
        self.val_nats, self.test_nats = (nn.ModuleDict({kind: MeanMetric() for kind in _KINDS}) for _ in range(2))

    def weights(self) -> dict[str, tuple[PatternMask, Tensor]]:
        """The masks and the dense weights they are for, by the names of the weights in the network."""
        found: dict[str, tuple[PatternMask, Tensor]] = {}
        for key, mask in self.masks.items():
            assert isinstance(mask, PatternMask)
            name = f"{key.replace('/', '.')}.weight".lstrip(".")  # of a network that is one layer: "weight"
            found[name] = (mask, self.network.get_parameter(name))
        return found

    def masked_weights(self, magnitude: bool = False) -> dict[str, Tensor]:
        """The masked weights by name: a draw in training, in eval() the most likely masks, or those of magnitude."""
        if magnitude or not (self.training or self.learning_masks):
            return {
                name: weight.detach() * magnitude_pattern(weight, mask.n, mask.m)
                for name, (mask, weight) in self.weights().items()
            }
        return {name: mask(weight.detach()) for name, (mask, weight) in self.weights().items()}

    def masked(self, inputs: Tensor, magnitude: bool = False) -> Tensor:
        """Logits of the network with masked weights; none of its own parameters gets a gradient."""
        held = {name: each.detach() for name, each in self.network.named_parameters()}
        return functional_call(self.network, held | self.masked_weights(magnitude), (inputs,))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits with the learned masks."""
        return self.masked(inputs)

    @torch.no_grad()
    def sparse_network(self) -> nn.Module:
        """A copy of the network, of plain layers, whose weights are those with the masks of eval()."""
        with _in_eval(self):
            weights = self.masked_weights()
        copied = copy.deepcopy(self.network)
        for name, value in weights.items():
            copied.get_parameter(name).copy_(value)
        return copied

    def examples(self, batch: Any) -> Examples:
        """The inputs and targets of a batch.

        Raises:
            ValueError: if it has no integer targets.
        """
        found = examples_of(batch)
        if found.labels is None or found.labels.is_floating_point():
            raise ValueError(
                "a batch of PatternLearning is (inputs, targets), the targets integers, and the data served "
                + ("no targets" if found.labels is None else f"targets of {found.labels.dtype}")
            )
        return found

    def check_batch(self, batch: Any) -> None:
        """Compares the model with a batch of the data; raises ValueError if it does not fit."""
        self.examples(batch)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats of each target, float32 (B, *), of logits (B, *, K).

        Raises:
            ValueError: if they do not fit together.
        """
        if logits.shape[:-1] != targets.shape:
            raise ValueError(
                f"the network gives logits {tuple(logits.shape)} for targets {tuple(targets.shape)}: expected the shape of the "
                "targets and one more dimension, last"
            )
        flat = nn.functional.cross_entropy(logits.float().flatten(0, -2), targets.flatten().long(), reduction="none")
        return flat.view(targets.shape)

    def on_fit_start(self) -> None:
        for each in self.trainer.optimizers:
            advice = "lets both learning rates fall to 0 by itself: leave the callback out"
            check_not_annealed(self.trainer, self, LearningRate(each), advice)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        done = progress(self.trainer, self.trainer.accumulate_grad_batches)
        learning = done >= self.dense_share - 1e-9  # 0.3 may be 3 times 0.1
        if learning and not self.learning_masks:
            for mask, weight in self.weights().values():
                mask.set_prior(magnitude_pattern(weight, mask.n, mask.m), self.prior)
        self.learning_masks = learning
        start, length = (self.dense_share, 1 - self.dense_share) if learning else (0.0, self.dense_share)
        factor = (1 + math.cos(math.pi * min(1.0, max(0.0, (done - start) / length)))) / 2
        optimizer = self.optimizers()
        for group, rate in zip(optimizer.param_groups, (self.learning_rate, self.mask_learning_rate), strict=True):  # type: ignore[union-attr]
            group["lr"] = rate * factor

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = self.examples(batch)
        assert targets is not None
        if self.learning_masks:
            with _in_eval(self.network):
                nats = self.losses(self.masked(inputs), targets).mean()
            kept = torch.stack([mask.kept(weight) for mask, weight in self.weights().values()]).sum()
            loss = nats - self.kept_weight() * kept
        else:
            loss = nats = self.losses(self.network(inputs), targets).mean()
        self.log("train/loss", nats.detach(), prog_bar=True)
        return reaching(loss, self.resting())  # DistributedDataParallel waits for every parameter

    def resting(self) -> list[nn.Parameter]:
        """The parameters that are not trained in this part of the run."""
        if self.learning_masks:
            return list(self.network.parameters())
        return [mask.logits for mask, _ in self.weights().values()]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for each in self.resting():
            each.grad = None  # a gradient of 0, as of DistributedDataParallel, would let Adam's momentum go on

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.evaluate(self.val_nats, batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.evaluate(self.test_nats, batch)

    def evaluate(self, metrics: nn.ModuleDict, batch: Any) -> None:
        """Adds the losses of a batch, of the three networks."""
        inputs, targets = self.examples(batch)
        assert targets is not None
        for kind in _KINDS:
            logits = self.network(inputs) if kind == "dense" else self.masked(inputs, kind == "magnitude")
            metrics[kind].update(self.losses(logits, targets))  # type: ignore[operator]

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """The likeliest class or token, int64 (B, *)."""
        return {"predictions": self(examples_of(batch).inputs).argmax(-1)}

    def on_validation_epoch_end(self) -> None:
        self._log("val", self.figures(self.val_nats))

    def on_test_epoch_end(self) -> None:
        self._log("test", self.figures(self.test_nats))

    def figures(self, metrics: nn.ModuleDict) -> dict[str, Tensor]:
        """The 0-dim figures of a stage by name, equal on all ranks; a collective call. Metrics start anew."""
        dense, magnitude, learned = (_computed(metrics[kind]) for kind in _KINDS)
        closed = gap_closed(dense, magnitude, learned)
        return {"nats": learned, "dense_nats": dense, "magnitude_nats": magnitude, "gap_closed": closed}

    def _log(self, stage: str, figures: Mapping[str, Tensor]) -> None:
        for name, value in figures.items():
            # equal on all ranks; without sync_dist Lightning warns
            self.log(f"{stage}/{name}", value.float(), sync_dist=True, prog_bar=name == "nats")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        logits = [mask.logits for mask, _ in self.weights().values()]
        groups = [
            {"params": list(self.network.parameters()), "lr": self.learning_rate},
            {"params": logits, "lr": self.mask_learning_rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups)


@contextmanager
def _in_eval(module: nn.Module) -> Iterator[None]:
    before = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, training in before.items():
            each.training = training


def _computed(metric: Any) -> Tensor:
    value: Tensor = metric.compute()
    with torch.inference_mode(False):  # a later loop has to be able to change it
        metric.reset()
    return value
