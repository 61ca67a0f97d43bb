"""A network with gates that classifies, trained together with its gates; and what is left of it, trained on."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from discrete_lightning.functional._arguments import check_not_negative, check_positive
from discrete_lightning.layers.relaxation_gap import RelaxationGap
from discrete_lightning.schedules import Cosine
from discrete_lightning.selection.budget import gate_layers
from discrete_lightning.selection.derive import derive
from discrete_lightning.selection.network_cost import count_flops, count_parameters
from discrete_lightning.selection.training.drawn_gates import drawn_gates
from discrete_lightning.training.annealing import check_not_annealed
from discrete_lightning.training.batches import Examples, examples_of
from discrete_lightning.training.learning_rate_annealing import LearningRate
from discrete_lightning.training.progress import progress
from discrete_lightning.training.restorable import RestorableModule


class PrunedNetwork(RestorableModule):
    """Trains a network, with gates or without, by cross-entropy; the callback `Budget` prunes it, `PrunedWriter` writes it.

    The network maps inputs (B, ...) to logits (B, ..., classes), and a batch is `(inputs, targets)`, the targets int64 of the
    shape of the logits without their last dimension: images with labels (B,), or tokens with the next tokens (B, S). AdamW; the
    learning rates fall to 0 by a cosine.

    Logged of validation and test: `accuracy` and `loss` (cross-entropy in nats) of what would be deployed, and
    `relaxation_gap`: its loss minus that with gates drawn as in training (0 once the gates are held). Of test also `flops`
    and `parameters` of the derived network.

    Args:
        network: any module; with an attribute `example`, an input of one row, if FLOPs are to be counted.
        learning_rate: of the weights.
        gate_learning_rate: of the gates.
        weight_decay: of the weights.

    Raises:
        ValueError: if an argument is out of range; at the first batch, if it does not fit the network.

    Example:
        >>> from discrete_lightning.nn import GatedConvNet
        >>> PrunedNetwork(GatedConvNet([4, 8]))(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        network: nn.Module,
        learning_rate: float = 3e-3,
        gate_learning_rate: float = 0.1,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(learning_rate=learning_rate, gate_learning_rate=gate_learning_rate)
        check_not_negative(weight_decay=weight_decay)
        self.network, self.weight_decay = network, weight_decay
        self.learning_rate, self.gate_learning_rate = learning_rate, gate_learning_rate
        self.example_input_array = getattr(network, "example", None)
        self.val_metrics, self.test_metrics = _Metrics(), _Metrics()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, ..., classes)."""
        return self.network(inputs)

    def gated_network(self) -> nn.Module:
        """For PrunedWriter: see protocols.py."""
        return self.network

    def examples(self, batch: Any) -> Examples:
        """The inputs and targets of a batch.

        Raises:
            ValueError: if there are no targets, or they are no whole numbers.
        """
        inputs, targets = examples_of(batch)
        if targets is None or targets.is_floating_point():
            got = "none" if targets is None else str(targets.dtype)
            raise ValueError(
                f"a batch is (inputs, targets), the targets whole numbers, and the data served {got}: add labels"
            )
        return Examples(inputs, targets.long())

    def check_batch(self, batch: Any) -> None:
        """Compares the network with a batch of the data; raises ValueError if it does not fit."""
        inputs, targets = self.examples(batch)
        assert targets is not None
        mode = self.network.training
        try:
            with torch.no_grad():
                logits = self.network.eval()(inputs[:1])
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"the network does not take inputs of {list(inputs.shape[1:])}: {error}") from None
        finally:
            self.network.train(mode)
        if logits.shape[1:-1] != targets.shape[1:]:
            raise ValueError(
                f"the network gives logits of {list(logits.shape[1:])} for a row, and its targets are {list(targets.shape[1:])}"
            )
        low, high = (int(each) for each in targets.aminmax())
        if low < 0 or high >= logits.shape[-1]:
            raise ValueError(f"the network has {logits.shape[-1]} classes, and targets go from {low} to {high}")

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each target in nats, float32, of the targets' shape."""
        flat = logits.float().flatten(0, -2)
        return nn.functional.cross_entropy(flat, targets.flatten(), reduction="none").view(targets.shape)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = self.examples(batch)
        assert targets is not None
        loss = self.losses(self.network(inputs), targets).mean()
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(self.val_metrics, batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(self.test_metrics, batch)

    def _evaluate(self, metrics: "_Metrics", batch: Any) -> None:
        inputs, targets = self.examples(batch)
        assert targets is not None
        logits = self.network(inputs)
        losses = self.losses(logits, targets)
        metrics.accuracy.update((logits.argmax(-1) == targets).float())
        metrics.loss.update(losses)
        if any(not each.held for each in gate_layers(self.network).values()):
            with drawn_gates(self.network):
                metrics.gap.update(relaxed=self.losses(self.network(inputs), targets), discrete=losses)

    def on_validation_epoch_end(self) -> None:
        self._log("val", self.val_metrics, {})

    def on_test_epoch_end(self) -> None:
        derived = derive(self.network)
        costs = {"parameters": float(count_parameters(derived))}
        if self.example_input_array is not None:
            costs["flops"] = count_flops(derived, self.example_input_array)
        self._log("test", self.test_metrics, costs)

    def _log(self, stage: str, metrics: "_Metrics", costs: dict[str, float]) -> None:
        figures = metrics.figures()
        if not gate_layers(self.network):
            del figures["relaxation_gap"]
        for name, value in (figures | costs).items():
            is_cost = name in costs
            # equal on all ranks; without sync_dist Lightning warns
            shown: dict[str, Any] = {
                "prog_bar": name == "accuracy",
                "sync_dist": not is_cost,
                "rank_zero_only": is_cost,
            }
            self.log(f"{stage}/{name}", value, **shown)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """The most probable classes, int64 (B, ...)."""
        inputs, targets = examples_of(batch)
        return {"classes": self(inputs).argmax(-1)} | ({} if targets is None else {"labels": targets})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        layers = gate_layers(self.network).values()
        gates = [each for layer in layers for each in layer.parameters() if each.requires_grad]
        known = {id(each) for each in gates}
        weights = [each for each in self.parameters() if each.requires_grad and id(each) not in known]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": self.weight_decay, "peak": self.learning_rate}
        ]
        if gates:
            groups.append({"params": gates, "weight_decay": 0.0, "peak": self.gate_learning_rate})
        return torch.optim.AdamW(groups, lr=self.learning_rate)

    def on_fit_start(self) -> None:
        by = "by a cosine: remove the callback, and set model.learning_rate"
        check_not_annealed(self.trainer, self, LearningRate(self.trainer.optimizers[0]), by)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        share = progress(self.trainer, self.trainer.accumulate_grad_batches)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = Cosine(group["peak"], 0.0, steps=1)(share)


class _Metrics(nn.Module):
    """What is measured in validation, or in test."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy, self.loss, self.gap = MeanMetric(), MeanMetric(), RelaxationGap()

    def figures(self) -> dict[str, Tensor]:
        """The values by name, equal on all ranks; a collective call. The metrics start anew."""
        names = {"accuracy": self.accuracy, "loss": self.loss, "relaxation_gap": self.gap}
        found = {}
        for name, metric in names.items():
            # gates that are held have no gap
            found[name] = metric.compute().float() if metric.update_called else torch.zeros((), device=self.loss.device)
            with torch.inference_mode(False):  # a later loop has to be able to change it
                metric.reset()
        return found
