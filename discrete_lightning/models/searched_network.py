"""A network with choices as a LightningModule: evaluated as it would be deployed, and what is written of it."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import entropy
from discrete_lightning.metrics import RelaxationGap
from discrete_lightning.models.search_method import GDAS, Sampled, SearchMethod
from discrete_lightning.models.search_settings import CostTarget, SearchOptimizers
from discrete_lightning.nn import Choice, Edge, NASBench201, SearchSpace, Weight, derive, held, one_draw

Batch = tuple[Tensor, Tensor]


class SearchedNetwork(LightningModule):
    """What ArchitectureSearch is but for its training; its arguments are explained there.

    Validation is of the derived network with the weights of the search, and of the network as it is searched.
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
        super().__init__()
        self.automatic_optimization = False
        if accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {accumulate}")
        method = GDAS() if method is None else method
        self.method: SearchMethod = Sampled(by=method) if isinstance(method, Estimator) else method
        if accumulate > 1 and self.method.second_order:
            raise ValueError(
                f"SecondOrderDARTS unrolls the whole step, which accumulate={accumulate} takes apart: "
                "use accumulate=1 and the batch size that fits"
            )
        self.space = NASBench201() if space is None else space
        self.target, self.settings = cost, SearchOptimizers() if optimizers is None else optimizers
        self.accumulate, self.retrain_epochs = accumulate, retrain_epochs
        self.image_shape, self.classes = tuple(image_shape), classes
        self.network = self.space.supernet(image_shape[0], classes, self.method.estimator)
        self.multiplier = Weight(0.0)
        self.val_gap = RelaxationGap()
        self.search_seconds = 0.0
        self._draws_before: Tensor | None = None
        self._micro_batches = 0

    @property
    def choice(self) -> Choice:
        """The choice that all cells share."""
        return self.network.choice

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes): of a drawn network in training, of the decided one in eval()."""
        with self._decided() if not self.training else one_draw(self.network):
            return self.network(images)

    # What a subclass may change.

    def task_loss(self, batch: Batch) -> Tensor:
        """The loss of the network, as its choices are now, on a batch: cross-entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images).float(), labels)

    def architecture(self) -> list[str]:
        """The architecture as it would be derived now."""
        return self.space.used(self.choice.decided())

    def cost(self) -> float:
        """Of that architecture, in the units of the target."""
        return self.choice.cost(self.choice.indices(self.architecture()))

    def derive(self) -> nn.Module:
        """The discrete network, with the weights of the search."""
        with self._decided():
            return derive(self.network)

    # Evaluation: of what would be deployed.

    def on_train_epoch_end(self) -> None:
        logits = self.choice.logits.detach().float()
        largest = math.log(max(2, len(self.choice.options)))
        values: dict[str, Tensor | float] = {
            "search/choice_entropy": entropy(logits).mean() / largest,
            "search/confidence": torch.softmax(logits, -1).amax(-1).mean(),
            "search/skip_share": self.skip_share(),
        }
        if self.target is not None:
            values["search/cost"] = self.cost()
            values["search/expected_cost"] = self.choice.expected_cost().detach()
            values["search/multiplier"] = self.multiplier()
        # equal on all ranks
        for name, value in values.items():
            shown = name in ("search/choice_entropy", "search/cost")
            self.log(name, value, prog_bar=shown, rank_zero_only=True)

    def skip_share(self) -> float:
        """Share of skip connections among the decided operations that are not `none`."""
        chosen = [name for name in self.architecture() if name != "none"]
        return sum(name.startswith("skip") for name in chosen) / max(1, len(chosen))

    @contextmanager
    def _decided(self) -> Iterator[None]:
        with held(self.network, [self.choice.decide()]):
            yield

    def _correct(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(images).float()
        return logits, (logits.argmax(-1) == labels).float()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        with self._decided():
            logits, correct = self._correct(images, labels)
        before = self.choice.draws.clone()
        with one_draw(self.network, gradient=False):
            _, as_searched = self._correct(images, labels)
        self.choice.draws.copy_(before)  # validation leaves the draws of training alone
        self.val_gap.update(relaxed=1 - as_searched, discrete=1 - correct)
        sizes: dict[str, Any] = {"batch_size": len(images), "sync_dist": True}
        self.log("val/accuracy", correct.mean(), prog_bar=True, **sizes)
        self.log("val/accuracy_as_searched", as_searched.mean(), **sizes)
        self.log("val/loss", nn.functional.cross_entropy(logits, labels), **sizes)
        self.log("val/relaxation_gap", self.val_gap, batch_size=len(images))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        with self._decided():
            _, correct = self._correct(images, labels)
        self.log("test/accuracy_with_search_weights", correct.mean(), batch_size=len(images), sync_dist=True)
        if self.target is not None:
            self.log(f"architecture/{self.target.measure}", self.cost(), batch_size=len(images))

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        images, labels = batch
        with self._decided():
            return {"classes": self.network(images).argmax(-1), "labels": labels}

    # What is written: see callbacks.ArchitectureWriter.

    def architecture_record(self) -> dict[str, Any]:
        """What architecture.json holds."""
        record: dict[str, Any] = {"space": self.space.describe(), "architecture": self.architecture()}
        record["method"] = str(self.method)
        if self.target is not None:
            record["cost"] = {
                "measure": self.target.measure,
                "target": self.target.target,
                "cost": self.cost(),
            }
        return record

    def architecture_edges(self) -> list[Edge]:
        """What the picture shows."""
        return self.space.edges(self.architecture())

    def next_config(self) -> dict[str, Any]:
        """The config of the next step: training the found architecture alone, beside random ones at the cost of this search."""
        arguments = {
            "space": self.space.describe(),
            "architecture": self.architecture(),
            "random_architectures": self.affordable_architectures(),
            "image_shape": list(self.image_shape),
            "classes": self.classes,
        }
        model = {"class_path": "ArchitectureTraining", "init_args": arguments}
        return {"model": model, "trainer": {"max_epochs": self.retrain_epochs, "log_every_n_steps": 10}}

    def affordable_architectures(self) -> int:
        """How many architectures could have been trained alone in the seconds that the search has taken, at least 1."""
        batches = float(self.trainer.num_training_batches)
        if not self.search_seconds or not math.isfinite(batches):
            return 1
        network = self.space.build(self.architecture(), self.image_shape[0], self.classes).to(self.device)
        size = 2 * self._batch_size()
        images = torch.zeros(size, *self.image_shape, device=self.device)
        labels = torch.zeros(size, dtype=torch.int64, device=self.device)
        with torch.enable_grad(), torch.random.fork_rng([]):
            seconds = min(_step_seconds(network, images, labels) for _ in range(3))
        return max(1, round(self.search_seconds / (seconds * batches * self.retrain_epochs)))

    def _batch_size(self) -> int:
        size = getattr(self.trainer.datamodule, "batch_size", None)  # type: ignore[attr-defined]
        return size if isinstance(size, int) else 64

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["search_seconds"] = self.search_seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.search_seconds = checkpoint.get("search_seconds", 0.0)


def _step_seconds(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    start = time.perf_counter()
    nn.functional.cross_entropy(network(images), labels).backward()
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start
