"""A found architecture trained from scratch, beside random architectures of the same space at the cost of the search."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import average_over_ranks
from discrete_lightning.functional._arguments import (
    check_at_least,
    check_image_shape,
    check_not_negative,
    check_positive,
)
from discrete_lightning.nas.spaces.space import SearchSpace
from discrete_lightning.nas.training.labelled_images import Batch, labelled_images
from discrete_lightning.schedules import Cosine
from discrete_lightning.storage.json_file import read_json
from discrete_lightning.training.annealing import check_not_annealed
from discrete_lightning.training.batches import examples_of
from discrete_lightning.training.learning_rate_annealing import LearningRate
from discrete_lightning.training.progress import progress
from discrete_lightning.training.restorable import RestorableModule


class ArchitectureTraining(RestorableModule):
    """Trains the network of one architecture and, on the same batches, those of some random architectures.

    Random search at the cost of a search trains as many random architectures as have the floating-point operations of the
    search, and takes the one that is best in validation: `test/accuracy_of_random_search`, beside `test/accuracy`. All networks
    are plain modules with separate parameters, trained by SGD with Nesterov momentum and a cosine. `network` is the found
    one.

    Args:
        space: of the architecture; sizes (channels, cells) may differ from the search's.
        architecture: names of operations, or an `architecture.json`.
        random_architectures: trained beside it: architectures, or how many to draw from the space.
        learning_rate: of SGD.
        weight_decay: of SGD.
        image_shape: (channels, height, width).
        classes: of the task.
        seed: of the random architectures, where their number is given.

    Raises:
        ValueError: if the architecture is not of the space.

    Example:
        >>> from discrete_lightning.nn import NASBench201
        >>> model = ArchitectureTraining(NASBench201(channels=4, nodes=3), ["skip", "conv3x3", "none"])
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    validation: Tensor

    def __init__(
        self,
        space: SearchSpace,
        architecture: list[str] | str,
        random_architectures: list[list[str]] | int = 0,
        learning_rate: float = 0.1,
        weight_decay: float = 5e-4,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        classes: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if isinstance(random_architectures, int) and random_architectures < 0:
            raise ValueError(f"random_architectures must not be negative, got {random_architectures}")
        check_positive(learning_rate=learning_rate)
        check_not_negative(weight_decay=weight_decay)
        check_at_least(1, classes=classes)
        check_image_shape(image_shape)
        self.image_shape, self.classes = tuple(image_shape), classes
        self.space, self.learning_rate, self.weight_decay = space, learning_rate, weight_decay
        self.architecture = _load(space, architecture) if isinstance(architecture, str) else list(architecture)
        self.network = space.build(self.architecture, image_shape[0], classes)
        if isinstance(random_architectures, int):
            generator = torch.Generator().manual_seed(seed)
            random_architectures = [space.random(generator) for _ in range(random_architectures)]
        self.random_architectures = random_architectures
        self.record(architecture=self.architecture, random_architectures=random_architectures)
        self.random_networks = nn.ModuleList(
            space.build(each, image_shape[0], classes) for each in self.random_architectures
        )
        # accuracies of the last validation: which random network the search would have taken
        self.register_buffer("validation", torch.zeros(len(random_architectures), dtype=torch.float32))
        self._right, self._seen = torch.zeros(0), 0

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of the found network."""
        return self.network(images)

    def examples(self, batch: Any, batch_idx: int = 0) -> Batch:
        """Images and labels of a batch; the shape of every one and the labels of the first are compared with the network."""
        return labelled_images(batch, self.image_shape, self.classes, batch_idx)

    def check_batch(self, batch: Any) -> None:
        """Compares the network with a training batch of the data; raises as `labelled_images`."""
        self.examples(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = self.examples(batch, batch_idx)
        loss = nn.functional.cross_entropy(self.network(images).float(), labels)
        self.log("train/loss", loss, prog_bar=True)
        for network in self.random_networks:  # separate parameters: each gets the gradient of its own loss
            loss = loss + nn.functional.cross_entropy(network(images).float(), labels)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._right, self._seen = torch.zeros(len(self.random_networks), device=self.device), 0

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        examples = self.examples(batch, batch_idx)
        self._evaluate("val", examples)
        right = [_correct(network, examples).sum() for network in self.random_networks]
        if right:
            self._right += torch.stack(right)
        self._seen += len(examples[0])

    def on_validation_epoch_end(self) -> None:
        if len(self.random_networks) and self._seen:
            self.validation.copy_(average_over_ranks([self._right / self._seen])[0])
            self.log("val/accuracy_of_random_search", self.validation.max())

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        examples = self.examples(batch, batch_idx)
        self._evaluate("test", examples)
        if len(self.random_networks):
            sizes: dict[str, Any] = {"batch_size": len(examples[0]), "sync_dist": True}
            accuracies = torch.stack([_correct(network, examples).mean() for network in self.random_networks])
            self.log("test/accuracy_of_random_search", accuracies[int(self.validation.argmax())], **sizes)
            self.log("test/accuracy_of_random_mean", accuracies.mean(), **sizes)
            self.log("test/random_architectures", float(len(accuracies)), **sizes)

    def _evaluate(self, stage: str, batch: Batch) -> None:
        accuracy = _correct(self.network, batch).mean()
        self.log(f"{stage}/accuracy", accuracy, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        images, labels = examples_of(batch)
        return {"classes": self(images).argmax(-1)} | ({} if labels is None else {"labels": labels})

    def architecture_record(self) -> dict[str, Any]:
        """What architecture.json holds."""
        return {"space": self.space.describe(), "architecture": self.architecture}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = [each for each in self.parameters() if each.requires_grad]
        return torch.optim.SGD(
            parameters, self.learning_rate, momentum=0.9, nesterov=True, weight_decay=self.weight_decay
        )

    def on_fit_start(self) -> None:
        by = "by a cosine: remove the callback, and set model.learning_rate"
        check_not_annealed(self.trainer, self, LearningRate(self.trainer.optimizers[0]), by)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        share = progress(self.trainer, self.trainer.accumulate_grad_batches)
        LearningRate(self.trainer.optimizers[0]).set(Cosine(self.learning_rate, 0.0, steps=1)(share))


def retraining_config(
    space: SearchSpace,
    architecture: list[str],
    random_architectures: list[list[str]],
    image_shape: tuple[int, ...],
    classes: int,
    epochs: int,
) -> dict[str, Any]:
    """The entries `model` and `trainer` of a config that trains these architectures by ArchitectureTraining."""
    arguments = {
        "space": space.describe(),
        "architecture": architecture,
        "random_architectures": random_architectures,
        "image_shape": list(image_shape),
        "classes": classes,
    }
    model = {"class_path": "ArchitectureTraining", "init_args": arguments}
    return {"model": model, "trainer": {"max_epochs": epochs, "log_every_n_steps": 10}}


def _correct(network: nn.Module, batch: Batch) -> Tensor:
    images, labels = batch
    return (network(images).argmax(-1) == labels).float()


def _load(space: SearchSpace, file: str) -> list[str]:
    try:
        saved = read_json(Path(file))
    except FileNotFoundError:
        raise ValueError(
            f"there is no file {file}: give an architecture.json of a search, or a list of operations"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is not an architecture.json: {error}") from None
    if not isinstance(saved, Mapping):
        found = "nothing" if saved is None else type(saved).__name__
        raise ValueError(f"{file} is not an architecture.json: it holds {found}, expected a mapping")
    try:
        return space.read(saved)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from None
