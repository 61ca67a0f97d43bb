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
from discrete_lightning.layers.relaxation_gap import RelaxationGap
from discrete_lightning.layers.temperature import LossWeight
from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.cost_table import Measure
from discrete_lightning.nas.one_of import derive
from discrete_lightning.nas.shared_draw import held, one_draw
from discrete_lightning.nas.spaces.nasbench201 import NASBench201
from discrete_lightning.nas.spaces.space import Edge, SearchSpace
from discrete_lightning.nas.training.method import GDAS, Sampled, SearchMethod
from discrete_lightning.nas.training.settings import CostTarget, SearchOptimizers
from discrete_lightning.training._lightning_private import rewind_batches

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
        for name, value in (("accumulate", accumulate), ("retrain_epochs", retrain_epochs), ("classes", classes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        method = GDAS() if method is None else method
        self.method: SearchMethod = Sampled(method) if isinstance(method, Estimator) else method
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
        self.multiplier = LossWeight(0.0)
        self.val_gap = RelaxationGap()
        self.search_seconds = 0.0
        self._measured: str | None = None  # what the table of costs in a checkpoint is measured in
        self._micro_batches = 0  # of the open window: the batches of one step
        self._window: tuple[int, int] | None = None  # index of its first batch, number of its first draw
        self._validation_draws: int | None = None
        self._is_checked = False

    @property
    def choice(self) -> ArchitectureChoice:
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

    @property
    def measure(self) -> Measure:
        """What costs are measured in: as the target says, parameters where there is none."""
        return "parameters" if self.target is None else self.target.measure

    def cost(self) -> float:
        """Of that architecture, in the units of `measure`."""
        return self.choice.cost(self.choice.indices(self.architecture()))

    def derive(self) -> nn.Module:
        """The discrete network, with the weights of the search.

        Its norms go on using the statistics of each batch, as in the search: train the architecture alone (`next_config`) for
        a network whose predictions do not depend on what else is in the batch.
        """
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
            "search/cost": self.cost(),
        }
        if self.target is not None:
            values["search/expected_cost"] = self.choice.expected_cost().detach()
            values["search/multiplier"] = self.multiplier()
        # equal on all ranks
        for name, value in values.items():
            shown = name in ("search/choice_entropy", "search/cost")
            self.log(name, value, prog_bar=shown, rank_zero_only=True)

    def skip_share(self) -> float:
        """Share of skip connections among the operations that the derived network uses; 0 if it uses none."""
        used = [name for name in self.architecture() if name != "none"]
        return sum(name.startswith("skip") for name in used) / max(1, len(used))

    def disconnected(self) -> bool:
        """Whether no operation of the derived network leads from input to output."""
        return set(self.architecture()) <= {"none"}

    @contextmanager
    def _decided(self) -> Iterator[None]:
        with held(self.network, [self.choice.decide()]):
            yield

    def _correct(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(images).float()
        return logits, (logits.argmax(-1) == labels).float()

    def on_validation_epoch_start(self) -> None:
        self._validation_draws = int(self.choice.draws)

    def on_validation_epoch_end(self) -> None:  # validation leaves the draws of training alone
        if self._validation_draws is not None:
            self.choice.draws.fill_(self._validation_draws)
            self._validation_draws = None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = self._checked(batch)
        with self._decided():
            logits, correct = self._correct(images, labels)
        with one_draw(self.network, gradient=False):
            _, as_searched = self._correct(images, labels)
        self.val_gap.update(relaxed=1 - as_searched, discrete=1 - correct)
        sizes: dict[str, Any] = {"batch_size": len(images), "sync_dist": True}
        self.log("val/accuracy", correct.mean(), prog_bar=True, **sizes)
        self.log("val/accuracy_as_searched", as_searched.mean(), **sizes)
        self.log("val/loss", nn.functional.cross_entropy(logits, labels), **sizes)
        self.log("val/relaxation_gap", self.val_gap, batch_size=len(images))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = self._checked(batch)
        with self._decided():
            _, correct = self._correct(images, labels)
        self.log("test/accuracy_with_search_weights", correct.mean(), batch_size=len(images), sync_dist=True)
        if self.target is not None:
            self.log(f"architecture/{self.target.measure}", self.cost(), batch_size=len(images))

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        images, labels = self._checked(batch)
        with self._decided():
            return {"classes": self.network(images).argmax(-1), "labels": labels}

    def _checked(self, batch: Batch) -> Batch:
        """The batch; the first one is compared with what the network was built for."""
        if not self._is_checked:
            check_images(batch, self.image_shape, self.classes)
            self._is_checked = True
        return batch

    # What is written: see callbacks.ArchitectureWriter.

    def architecture_record(self) -> dict[str, Any]:
        """What architecture.json holds."""
        record: dict[str, Any] = {"space": self.space.describe(), "architecture": self.architecture()}
        record["method"] = str(self.method)
        target = {} if self.target is None else {"target": self.target.target}
        record["cost"] = {"measure": self.measure, **target, "cost": self.cost()}
        return record

    def architecture_edges(self) -> list[Edge]:
        """What the picture shows."""
        return self.space.edges(self.architecture())

    def next_config(self) -> dict[str, Any]:
        """The config of the next step: training the found architecture alone, beside random ones at the cost of this search,
        which are drawn from those within the target."""
        generator = torch.Generator().manual_seed(int(self.choice.seed))
        costs = None if self.target is None else self.choice
        arguments = {
            "space": self.space.describe(),
            "architecture": self.architecture(),
            "random_architectures": [
                self.space.random(generator, costs) for _ in range(self.affordable_architectures())
            ],
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
        """In the middle of a step or of a validation, the checkpoint is of where that began: what draws and batches it has
        seen is undone, and weights do not change in between."""
        checkpoint["search_seconds"] = self.search_seconds
        checkpoint["cost_measure"] = self.measure
        draws = self._validation_draws
        if self._window is not None:
            first, draws = self._window
            rewind_batches(checkpoint, first)
        if draws is not None:
            for name, module in self.named_modules(remove_duplicate=False):
                if module is self.choice:  # known by a name in every OneOf
                    checkpoint["state_dict"][f"{name}.draws"] = torch.tensor(draws)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.search_seconds = checkpoint.get("search_seconds", 0.0)
        self._measured = checkpoint.get("cost_measure")


def check_images(batch: Batch, image_shape: tuple[int, ...], classes: int) -> None:
    """Raises ValueError if the images have another shape, or labels are not below `classes`."""
    images, labels = batch
    if images.shape[1:] != image_shape:
        raise ValueError(
            f"image_shape is {list(image_shape)}, and the data module serves images of {list(images.shape[1:])}: "
            f"set model.image_shape to [{', '.join(map(str, images.shape[1:]))}]"
        )
    if int(labels.max()) >= classes:
        raise ValueError(f"classes is {classes}, and a label is {int(labels.max())}: set model.classes to their number")


def _step_seconds(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    start = time.perf_counter()
    nn.functional.cross_entropy(network(images), labels).backward()
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start
