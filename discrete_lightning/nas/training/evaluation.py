"""A network with choices, validated, tested and used for prediction as it would be deployed: the decided operations alone."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import broadcast_, rank
from discrete_lightning.estimators import Estimator
from discrete_lightning.functional import entropy
from discrete_lightning.layers.relaxation_gap import RelaxationGap
from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.cost_table import Measure
from discrete_lightning.nas.one_of import derive
from discrete_lightning.nas.shared_draw import hold_architecture, one_draw
from discrete_lightning.nas.spaces.space import Edge, SearchSpace
from discrete_lightning.nas.training.labelled_images import Batch, labelled_images
from discrete_lightning.nas.training.settings import CostTarget
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.per_loader import PerLoader
from discrete_lightning.training.restorable import RestorableModule


class SearchedNetwork(RestorableModule):
    """The network of a search space, its decided architecture, and the evaluation of that; a subclass trains it.

    Validation is of the decided network with the weights of the search (`val/accuracy`, `val/loss`), and of the network as it
    is searched (`val/accuracy_as_searched`); the difference of their errors is `val/relaxation_gap`. Test and prediction are
    of the decided network. Validation does not change the noise of training.

    Args:
        space: of the network and of the architecture.
        estimator: how the gradient passes through the choice.
        target: the limit of the architecture's cost; None: no limit.
        image_shape: (channels, height, width).
        classes: of the task.

    Raises:
        ValueError: at the first batch, if images or labels do not fit `image_shape` and `classes`.
    """

    def __init__(
        self,
        space: SearchSpace,
        estimator: Estimator,
        target: CostTarget | None,
        image_shape: tuple[int, int, int],
        classes: int,
    ) -> None:
        super().__init__()
        self.space, self.target = space, target
        self.network = space.supernet(image_shape[0], classes, estimator)
        self.image_shape, self.classes = tuple(image_shape), classes
        self.val_gap = PerLoader(RelaxationGap)
        self._draws_before_validation: int | None = None

    @property
    def choice(self) -> ArchitectureChoice:
        """The choice that all cells share."""
        return self.network.choice

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes): of a drawn network in training, of the decided one in eval()."""
        with self._decided() if not self.training else one_draw(self.network):
            return self.network(images)

    def architecture(self) -> list[str]:
        """The architecture as it would be derived now."""
        return self.space.used(self.choice.decided())

    @property
    def measure(self) -> Measure:
        """What is measured as cost: that of the target, or parameters if there is no target."""
        return "parameters" if self.target is None else self.target.measure

    def cost(self) -> float:
        """The cost of that architecture, in the units of `measure`."""
        return self.choice.cost(self.choice.indices(self.architecture()))

    def measure_costs(self) -> None:
        """Fills the table of costs, measured by rank 0 on the network as it would be deployed."""
        size = self.target.batch_size if self.target is not None and self.measure == "latency" else 1
        images = torch.zeros(size, *self.image_shape, device=self.device)
        fixed = torch.zeros((), device=self.device)
        if rank() == 0:
            table, cost = self.space.costs(images, self.classes, self.measure)
            self.choice.costs.copy_(table)
            fixed.fill_(cost)
        broadcast_(self.choice.costs)
        self.choice.fixed_cost = float(broadcast_(fixed))

    def derive(self) -> nn.Module:
        """The discrete network, with the weights of the search.

        Its norms go on using the statistics of each batch, as in the search: train the architecture alone
        (`retraining_config`) for a network whose predictions do not depend on what else is in the batch.
        """
        with self._decided():
            return derive(self.network)

    @contextmanager
    def _decided(self) -> Iterator[None]:
        with hold_architecture(self.network, [self.choice.decide()]):
            yield

    def _correct(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(images).float()
        return logits, (logits.argmax(-1) == labels).float()

    def on_validation_epoch_start(self) -> None:
        self._draws_before_validation = self.choice.draws

    def on_validation_epoch_end(self) -> None:
        if self._draws_before_validation is not None:
            self.choice.draws = self._draws_before_validation
            self._draws_before_validation = None

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        images, labels = self.examples(batch, batch_idx)
        with self._decided():
            logits, correct = self._correct(images, labels)
        with one_draw(self.network, gradient=False):
            _, as_searched = self._correct(images, labels)
        gap = self.val_gap.of(dataloader_idx, self.device)
        gap.update(relaxed=1 - as_searched, discrete=1 - correct)
        sizes: dict[str, Any] = {"batch_size": len(images), "sync_dist": True}
        self.log("val/accuracy", correct.mean(), prog_bar=True, **sizes)
        self.log("val/accuracy_as_searched", as_searched.mean(), **sizes)
        self.log("val/loss", nn.functional.cross_entropy(logits, labels), **sizes)
        where = f"val_gap.{dataloader_idx}"
        self.log("val/relaxation_gap", gap, batch_size=len(images), metric_attribute=where)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        images, labels = self.examples(batch, batch_idx)
        with self._decided():
            _, correct = self._correct(images, labels)
        self.log("test/accuracy_with_search_weights", correct.mean(), batch_size=len(images), sync_dist=True)
        if self.target is not None:
            self.log(f"architecture/{self.target.measure}", self.cost(), batch_size=len(images))

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        found = examples_of(batch)
        with self._decided():
            classes = {"classes": self.network(found.inputs).argmax(-1)}
        return classes | ({} if found.labels is None else {"labels": found.labels})

    def on_train_epoch_end(self) -> None:
        probabilities = torch.softmax(self.choice.logits.detach().float(), -1)
        largest = math.log(max(2, len(self.choice.options)))
        values: dict[str, Tensor | float] = {
            "search/choice_entropy": entropy(self.choice.logits.detach().float()).mean() / largest,
            "search/confidence": probabilities.amax(-1).mean(),
            "search/skip_share": self.architecture_skip_share(),
            "search/cost": self.cost(),
        }
        for name, value in values.items():  # equal on all ranks
            shown = name in ("search/choice_entropy", "search/cost")
            self.log(name, value, prog_bar=shown, rank_zero_only=True)

    # For ArchitectureWriter and SearchMonitor: see protocols.py.

    def architecture_record(self) -> dict[str, Any]:
        target = {} if self.target is None else {"target": self.target.target}
        cost = {"measure": self.measure, **target, "cost": self.cost()}
        return {"space": self.space.describe(), "architecture": self.architecture(), "cost": cost}

    def architecture_edges(self) -> list[Edge]:
        return self.space.edges(self.architecture())

    def architecture_skip_share(self) -> float:
        used = [name for name in self.architecture() if name != "none"]
        return sum(name.startswith("skip") for name in used) / max(1, len(used))

    def architecture_is_disconnected(self) -> bool:
        return set(self.architecture()) <= {"none"}

    def examples(self, batch: Any, batch_idx: int = 0) -> Batch:
        """Images and labels of a batch; the shape of every one and the labels of the first are compared with the network."""
        return labelled_images(batch, self.image_shape, self.classes, batch_idx)

    def check_batch(self, batch: Any) -> None:
        """Compares the network with a training batch of the data; raises as `labelled_images`."""
        self.examples(batch)
