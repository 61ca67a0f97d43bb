"""Search spaces: a space builds a network with choices, or the plain network of one architecture."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.nas.choice import ArchitectureChoice, option_indices
from discrete_lightning.nas.cost_table import Measure, operation_costs
from discrete_lightning.nas.one_of import derive
from discrete_lightning.nas.operations import Norm, batch_norm, search_norm
from discrete_lightning.nas.shared_draw import hold_architecture

_DRAWS = 10_000
_RENAMED = {"LayerChain": "InvertedResidualSpace"}  # in files of earlier versions


class Edge(NamedTuple):
    """One operation of an architecture, for its picture: names of two nodes, of the operation, and of the cell it is in."""

    source: str
    target: str
    operation: str
    cell: str


class SearchNetwork(nn.Module):
    """A network for images (B, C, H, W) whose OneOfs share one ArchitectureChoice.

    Args:
        choice: shared by all cells.
        body: images to features (B, width, h, w).
        width: of the features.
        classes: of the logits.
    """

    def __init__(self, choice: ArchitectureChoice, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.choice, self.body = choice, body
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes)."""
        choice = self._modules.get("choice")  # a derived network has none
        with choice.compared_once() if isinstance(choice, ArchitectureChoice) else nullcontext():
            return self.head(self.body(images).mean((2, 3)))


class SearchSpace(ABC):
    """Base of spaces: frozen dataclasses whose fields say how large the network is.

    An architecture is a list of names of options, one for each choice.
    """

    @property
    @abstractmethod
    def options(self) -> tuple[str, ...]:
        """Names of the operations that each choice is among."""

    @property
    @abstractmethod
    def choices(self) -> int:
        """Number of choices."""

    def used(self, architecture: Sequence[str]) -> list[str]:
        """The same architecture with the operation `none` on every edge that the output does not depend on."""
        return list(architecture)

    @abstractmethod
    def edges(self, architecture: Sequence[str]) -> list[Edge]:
        """The operations of an architecture and the nodes they connect, for its picture."""

    @abstractmethod
    def _body(self, choice: ArchitectureChoice, image_channels: int, norm: Norm) -> tuple[nn.Module, int]:
        """The network without its head, and its width."""

    def choice(self, estimator: Estimator | None, temperature: Temperature | float) -> ArchitectureChoice:
        """The choice that all cells share."""
        return ArchitectureChoice(self.options, self.choices, estimator, temperature)

    def supernet(
        self,
        image_channels: int,
        classes: int,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
    ) -> SearchNetwork:
        """The network with all options.

        Args:
            image_channels: of the images.
            classes: of the logits.
            estimator: StraightThroughGumbel by default.
            temperature: of the choice.
        """
        return self._network(image_channels, classes, self.choice(estimator, temperature), search_norm)

    def check(self, architecture: Sequence[str]) -> None:
        """Raises ValueError if this is not an architecture of the space."""
        option_indices(self.options, self.choices, architecture)

    def random(self, generator: torch.Generator, costs: ArchitectureChoice | None = None) -> list[str]:
        """An architecture drawn uniformly from the space.

        Args:
            generator: source of randomness, on the CPU.
            costs: a choice with costs and a limit: drawn uniformly from the architectures within it.

        Raises:
            ValueError: if none was found within the limit.
        """
        for _ in range(_DRAWS):
            drawn = self._draw(generator)
            if costs is None or costs.cost(costs.indices(drawn)) <= costs.limit:
                return drawn
        raise ValueError(f"no architecture within the limit of {costs.limit:,.6g} in {_DRAWS:,} draws")  # type: ignore[union-attr]

    def _draw(self, generator: torch.Generator) -> list[str]:
        return [self.options[i] for i in torch.randint(len(self.options), (self.choices,), generator=generator)]

    def build(self, architecture: Sequence[str], image_channels: int, classes: int) -> nn.Module:
        """The plain, untrained network of an architecture, to be trained alone.

        Raises:
            ValueError: if the architecture is not of this space.
        """
        self.check(architecture)
        network = self._network(image_channels, classes, self.choice(None, 1.0), batch_norm)
        with hold_architecture(network, [network.choice.indices(architecture)]):
            return derive(network)

    def _network(self, image_channels: int, classes: int, choice: ArchitectureChoice, norm: Norm) -> SearchNetwork:
        body, width = self._body(choice, image_channels, norm)
        return SearchNetwork(choice, body, width, classes)

    def costs(self, images: Tensor, classes: int, measure: Measure) -> tuple[Tensor, float]:
        """Table (choices, options) and fixed cost of the network as it would be deployed, see `operation_costs`.

        Args:
            images: an example batch, on the device to measure on.
            classes: of the logits.
            measure: "parameters", "flops" or "latency".
        """
        network = self._network(images.shape[1], classes, self.choice(None, 1.0), batch_norm).to(images.device)
        return operation_costs(network, images, measure)

    def describe(self) -> dict[str, Any]:
        """As a config names it: {class_path, init_args}."""
        sizes = asdict(self)  # type: ignore[call-overload]
        return {
            "class_path": _RENAMED.get(type(self).__name__, type(self).__name__),
            "init_args": {key: list(value) if isinstance(value, tuple) else value for key, value in sizes.items()},
        }

    def read(self, saved: Mapping[str, Any]) -> list[str]:
        """The architecture in what `architecture.json` holds.

        Raises:
            ValueError: if it is not an architecture of this space.
        """
        space, architecture = saved.get("space"), saved.get("architecture")
        if not isinstance(space, Mapping) or not isinstance(architecture, list):
            raise ValueError(f"no architecture: expected the entries space and architecture, found {', '.join(saved)}")
        theirs, ours = (_flat(each) for each in (space, self.describe()))
        different = {key: (theirs.get(key), value) for key, value in ours.items() if theirs.get(key) != value}
        cells = {key: pair for key, pair in different.items() if key not in self._sizes()}
        if cells:
            cells = {"class": cells["class"]} if "class" in cells else cells  # other classes have other fields
            differences = ", ".join(
                f"{key} is {there!r} in the file and {here!r} in this space" for key, (there, here) in cells.items()
            )
            raise ValueError(
                f"the architecture is of another space: {differences}; give the space that it was found in"
            )
        self.check(architecture)
        return architecture

    def _sizes(self) -> Sequence[str]:
        """Fields that may differ between the search and the network that is trained: its size."""
        return ()

    def changed(self, **values: Any) -> Self:
        """The same space with other sizes."""
        return type(self)(**{each.name: getattr(self, each.name) for each in fields(self)} | values)  # type: ignore[arg-type]


def _flat(space: Mapping[str, Any]) -> dict[str, Any]:
    name = str(space.get("class_path", "")).rpartition(".")[2]
    return {"class": _RENAMED.get(name, name)} | dict(space.get("init_args") or {})
