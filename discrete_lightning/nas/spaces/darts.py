"""The cells of DARTS (Liu et al. 2018, https://arxiv.org/abs/1806.09055): normal and reduction cells of 8 operations.

node j = sum over i < j of operation_ij(node i), nodes 0 and 1 being the outputs of the two cells before
cell = concatenation of the inner nodes

The derived cell has no operation `none`, and each inner node keeps its two strongest edges, from different sources.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.one_of import OneOf
from discrete_lightning.nas.operations import (
    FactorizedReduce,
    Norm,
    Operation,
    Zero,
    convolution,
    dilated,
    pool,
    separable,
    skip,
    zero,
)
from discrete_lightning.nas.spaces.space import Edge, SearchSpace

OPERATIONS: dict[str, Operation] = {
    "none": zero,
    "max_pool_3x3": pool(nn.MaxPool2d),
    "avg_pool_3x3": pool(nn.AvgPool2d),
    "skip_connect": skip,
    "sep_conv_3x3": separable(3),
    "sep_conv_5x5": separable(5),
    "dil_conv_3x3": dilated(3),
    "dil_conv_5x5": dilated(5),
}


class DARTSChoice(ArchitectureChoice):
    """The choices of both cells; a decision keeps two edges for each node.

    Args:
        nodes: inner nodes of a cell.
        estimator: samples the options and passes the gradient to the logits.
        temperature: of the samples.
    """

    def __init__(self, nodes: int, estimator: Estimator | None = None, temperature: Temperature | float = 1.0) -> None:
        self.nodes = nodes
        super().__init__(tuple(OPERATIONS), 2 * len(_pairs(nodes)), estimator, temperature)

    def scores(self) -> Tensor:
        """Log-probabilities; -inf for the operation `none` on a node's two strongest edges, and for all others on its other
        edges."""
        scores = super().scores()
        return self._two_edges(scores, scores[:, 1:].amax(1))

    def fallback_scores(self) -> Tensor:
        """The same with the two edges of each node that cost least in place of the strongest."""
        saved = self.costs[:, 0] - self.costs[:, 1:].amin(1)
        return self._two_edges(super().scores(), saved)

    def _two_edges(self, scores: Tensor, strength: Tensor) -> Tensor:
        kept = torch.zeros(self.count, dtype=torch.bool, device=scores.device)
        start = 0
        for _ in range(2):
            for node in range(self.nodes):
                incoming = slice(start, start + node + 2)
                kept[start + strength[incoming].topk(2).indices] = True
                start += node + 2
        is_none = torch.arange(len(self.options), device=scores.device) == 0
        return torch.where(kept.unsqueeze(1) == is_none, -math.inf, scores)


def _pairs(nodes: int) -> list[tuple[int, int]]:
    """(source, target) of a cell's edges; 0 and 1 are its inputs."""
    return [(source, target) for target in range(2, nodes + 2) for source in range(target)]


class DARTSCell(nn.Module):
    """A cell: two inputs, inner nodes, and their concatenation as output."""

    def __init__(self, first: nn.Module, second: nn.Module, edges: Sequence[nn.Module], nodes: int) -> None:
        super().__init__()
        self.first, self.second, self.edges, self.nodes = first, second, nn.ModuleList(edges), nodes

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        values, edges = [self.first(before_last), self.second(last)], iter(self.edges)
        for target in range(2, self.nodes + 2):
            incoming = [(next(edges), values[source]) for source in range(target)]
            sent = [edge(value) for edge, value in incoming if not isinstance(edge, Zero)]
            values.append(sum(sent[1:], sent[0]))
        return torch.cat(values[2:], 1)


class DARTSBody(nn.Module):
    """Stem and cells; the inputs of a cell are the outputs of the two cells before it."""

    def __init__(self, stem: nn.Module, cells: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stem, self.cells = stem, nn.ModuleList(cells)

    def forward(self, images: Tensor) -> Tensor:
        before_last = last = self.stem(images)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return last


@dataclass(frozen=True)
class DARTSSpace(SearchSpace):
    """The space of DARTS, or smaller ones.

    Reduction cells have stride 2 and double the channels; they come after one third and two thirds of the cells.

    Args:
        channels: of the first cell's operations; the published search has 16.
        cells: in all, >= 1; published: 8 to search, 20 to train.
        nodes: inner nodes of a cell, >= 1; published: 4.
        stem_stride: 2 halves the images first.

    Example:
        >>> space = DARTSSpace(channels=4, cells=3, nodes=2)
        >>> space.choices, len(space.options)
        (10, 8)
        >>> space.supernet(image_channels=1, classes=10)(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 10])
    """

    channels: int = 16
    cells: int = 8
    nodes: int = 4
    stem_stride: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "cells", "nodes", "stem_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"DARTSSpace: {name} must be at least 1, got {getattr(self, name)}")

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(OPERATIONS)

    @property
    def choices(self) -> int:
        return 2 * len(_pairs(self.nodes))

    def choice(self, estimator: Estimator | None, temperature: Temperature | float) -> ArchitectureChoice:
        return DARTSChoice(self.nodes, estimator, temperature)

    def check(self, architecture: Sequence[str]) -> None:
        super().check(architecture)
        own = list(zip(2 * _pairs(self.nodes), architecture, strict=True))
        for number, cell in enumerate(("normal", "reduction")):
            half = own[number * len(own) // 2 : (number + 1) * len(own) // 2]
            for node in range(2, self.nodes + 2):
                if all(name == "none" for (_, target), name in half if target == node):
                    raise ValueError(
                        f"DARTSSpace: every edge to node {node - 1} of the {cell} cell is `none`: give one an operation"
                    )

    def _draw(self, generator: torch.Generator) -> list[str]:
        """Two edges a node and their operations, all equally likely."""
        drawn: list[str] = []
        for _ in range(2):
            for node in range(self.nodes):
                edges = ["none"] * (node + 2)
                for kept in torch.randperm(node + 2, generator=generator)[:2].tolist():
                    edges[kept] = self.options[1 + int(torch.randint(len(OPERATIONS) - 1, (), generator=generator))]
                drawn += edges
        return drawn

    def edges(self, architecture: Sequence[str]) -> list[Edge]:
        pairs, result = _pairs(self.nodes), []
        names = ["input of 2 before", "input", *(f"node {i + 1}" for i in range(self.nodes))]
        for number, cell in enumerate(("normal cell", "reduction cell")):
            own = architecture[number * len(pairs) : (number + 1) * len(pairs)]
            shown = zip(pairs, own, strict=True)
            result += [Edge(names[a], names[b], operation, cell) for (a, b), operation in shown if operation != "none"]
        return result

    def _body(self, choice: ArchitectureChoice, image_channels: int, norm: Norm) -> tuple[nn.Module, int]:
        stem_width = 3 * self.channels
        stem = nn.Sequential(
            nn.Conv2d(image_channels, stem_width, 3, self.stem_stride, 1, bias=False), norm(stem_width)
        )
        reductions = {self.cells // 3, 2 * self.cells // 3} - {0}
        width, cells, reduced = self.channels, list[nn.Module](), False
        before_last = last = stem_width
        for index in range(self.cells):
            reduce = index in reductions
            width *= 2 if reduce else 1
            first: nn.Module = convolution(1)(before_last, width, 1, norm)
            if reduced:  # the cell before the last one has twice the height and width
                first = FactorizedReduce(before_last, width, norm)
            second = convolution(1)(last, width, 1, norm)
            cells.append(DARTSCell(first, second, self._edges(choice, width, norm, reduce), self.nodes))
            before_last, last, reduced = last, self.nodes * width, reduce
        return DARTSBody(stem, cells), last

    def _edges(self, choice: ArchitectureChoice, width: int, norm: Norm, reduce: bool) -> list[nn.Module]:
        pairs, edges = _pairs(self.nodes), list[nn.Module]()
        for index, (source, _) in enumerate(pairs):
            stride = 2 if reduce and source < 2 else 1
            options = [build(width, width, stride, norm) for build in OPERATIONS.values()]
            edges.append(OneOf(options, choice, index + (len(pairs) if reduce else 0)))
        return edges

    def _sizes(self) -> Sequence[str]:
        return ("channels", "cells", "stem_stride")
