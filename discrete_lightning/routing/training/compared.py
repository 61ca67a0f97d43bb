"""A model with mixtures of experts beside a dense one of equal FLOPs, trained on the same batches."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from discrete_lightning.routing.mutual_information import NormalizedMutualInformation
from discrete_lightning.routing.routing_loss import routing_loss
from discrete_lightning.routing.training.load_metrics import LoadMetrics
from discrete_lightning.routing.training.watched import watched_routers
from discrete_lightning.training.batches import Examples
from discrete_lightning.training.restorable import RestorableModule


class ComparedModel(RestorableModule):
    """Base of models that are compared with a dense twin.

    loss = loss of the model + its routing loss + loss of the twin

    The two share no weight, so that each is trained as it would be alone. Logged of validation and test are `figure` and
    `dense_<figure>`, means over all examples, and the figures of `LoadMetrics`; each for all loaders together. A subclass
    builds both, then calls `add_metrics`, and defines `examples` and `losses`.

    Attributes:
        figure: name of what `errors` measures.
        model: with mixtures.
        dense: its twin, or None.
        learning_rate: of AdamW.
    """

    figure: ClassVar[str] = "error"
    model: nn.Module
    dense: nn.Module | None
    learning_rate: float

    def add_metrics(self) -> None:
        """Makes the metrics of validation and test."""
        self.val_metrics, self.test_metrics = StageMetrics(self.model), StageMetrics(self.model)

    @abstractmethod
    def examples(self, batch: Any, batch_idx: int = 0) -> Examples:
        """The inputs and targets of a batch. Values are looked at in batch 0 alone, which waits for the device.

        Raises:
            ValueError: if they do not fit the model.
        """

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example or token, float32, of any shape."""

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What `figure` is the mean of; the losses, unless a subclass measures something else."""
        return self.losses(outputs, targets)

    def model_losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The losses of the model with mixtures, in training."""
        return self.losses(self.model(inputs), targets)

    def forward(self, inputs: Tensor) -> Tensor:
        """The output of the model with mixtures."""
        return self.model(inputs)

    def check_batch(self, batch: Any) -> None:
        """Compares the model with a batch of the data; raises ValueError if it does not fit."""
        self.examples(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = self.examples(batch, batch_idx)
        assert targets is not None
        loss = self.model_losses(inputs, targets).mean()
        self.log("train/loss", loss.detach(), prog_bar=True)
        total = loss + routing_loss(self.model)
        if self.dense is not None:
            dense = self.losses(self.dense(inputs), targets).mean()
            self.log("train/dense_loss", dense.detach(), prog_bar=True)
            total = total + dense
        return total

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.evaluate(self.val_metrics, batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.evaluate(self.test_metrics, batch, batch_idx)

    def evaluate(self, metrics: "StageMetrics", batch: Any, batch_idx: int) -> None:
        """Adds a batch to the metrics of a stage."""
        inputs, targets = self.examples(batch, batch_idx)
        assert targets is not None
        with watched_routers(self.model, metrics.load.add):
            metrics.error.update(self.errors(self.model(inputs), targets))
        if self.dense is not None:
            metrics.dense_error.update(self.errors(self.dense(inputs), targets))

    def on_validation_epoch_end(self) -> None:
        self._log("val", self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._log("test", self.test_metrics)

    def figures(self, metrics: "StageMetrics") -> dict[str, Tensor]:
        """The 0-dim figures of a stage by name, equal on all ranks; a collective call. Metrics start anew."""
        found = {self.figure: computed(metrics.error)}
        if self.dense is not None:
            found[f"dense_{self.figure}"] = computed(metrics.dense_error)
        return found | metrics.load.figures()

    def _log(self, stage: str, metrics: "StageMetrics") -> None:
        for name, value in self.figures(metrics).items():
            # equal on all ranks; without sync_dist Lightning warns
            self.log(f"{stage}/{name}", value.float(), sync_dist=True, prog_bar=name == self.figure)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate)


class StageMetrics(nn.Module):
    """What is counted in validation, or in test.

    Attributes:
        nmi: of experts and sources, or None: it is not measured.
        has_sources: whether batches had a source.
    """

    nmi: NormalizedMutualInformation | None
    has_sources: bool

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.error, self.dense_error, self.load = MeanMetric(), MeanMetric(), LoadMetrics(model)
        self.nmi, self.has_sources = None, False


def computed(metric: Metric) -> Tensor:
    """The value of a metric, which starts anew; a collective call."""
    value: Tensor = metric.compute()
    with torch.inference_mode(False):  # a later loop has to be able to change it
        metric.reset()
    return value


def dense_of(feed_forward: Any, dense: Any) -> Any:
    """What makes the layers of the twin: `dense`, or by default the layer of equal FLOPs of a MixtureFeedForward.

    Raises:
        ValueError: if there is no default.
    """
    if dense is not None:
        return dense
    if not hasattr(feed_forward, "dense"):
        raise ValueError(
            f"{feed_forward} does not say which dense layer has its FLOPs: give dense=DenseFeedForward(...), or compare=False"
        )
    return feed_forward.dense()
