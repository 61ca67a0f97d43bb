"""The cell of NAS-Bench-201 (Dong & Yang 2020, https://arxiv.org/abs/2001.00326): 5 operations on 6 edges, 15,625 cells.

    node j = sum over i < j of operation_ij(node i);   the cell's output is its last node

stem, `cells` cells, residual block of stride 2, `cells` cells, residual block of stride 2, `cells` cells, mean, linear
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.one_of import OneOf
from discrete_lightning.nas.operations import (
    Norm,
    Operation,
    Zero,
    convolution,
    pool,
    skip,
    zero,
)
from discrete_lightning.nas.spaces.space import Edge, SearchSpace

OPERATIONS: dict[str, Operation] = {
    "none": zero,
    "skip": skip,
    "conv1x1": convolution(1),
    "conv3x3": convolution(3),
    "avgpool3x3": pool(nn.AvgPool2d, normalized=False),
}


def edge_list(nodes: int) -> list[tuple[int, int]]:
    """(source, target) of every edge, by target."""
    return [(source, target) for target in range(1, nodes) for source in range(target)]


def connected(nodes: int, present: Sequence[bool]) -> list[bool]:
    """Which of the present edges lie on a path from the first node to the last; the output does not depend on the others."""
    pairs = edge_list(nodes)
    reached, needed = {0}, {nodes - 1}
    for (source, target), there in zip(pairs, present, strict=True):
        if there and source in reached:
            reached.add(target)
    for (source, target), there in reversed(list(zip(pairs, present, strict=True))):
        if there and target in needed:
            needed.add(source)
    return [
        there and source in reached and target in needed for (source, target), there in zip(pairs, present, strict=True)
    ]


class SumCell(nn.Module):
    """A cell whose nodes each sum the outputs of the edges from all earlier nodes."""

    def __init__(self, edges: Sequence[nn.Module], nodes: int) -> None:
        super().__init__()
        self.edges, self.nodes = nn.ModuleList(edges), nodes

    def forward(self, x: Tensor) -> Tensor:
        nodes, edges = [x], iter(self.edges)
        for target in range(1, self.nodes):
            incoming = [(next(edges), nodes[source]) for source in range(target)]
            sent = [edge(value) for edge, value in incoming if not isinstance(edge, Zero)]
            nodes.append(sum(sent[1:], sent[0]) if sent else torch.zeros_like(x))
        return nodes[-1]

    def prune_after_derive(self) -> None:
        """Replaces the edges that are on no path from the input to the output by `Zero`."""
        used = connected(self.nodes, [not isinstance(edge, Zero) for edge in self.edges])
        for index, keep in enumerate(used):
            if not keep:
                self.edges[index] = Zero(0)


class ResidualReduction(nn.Module):
    """A basic block of ResNet with stride 2, between stages."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(3)(inputs, outputs, 2, norm), convolution(3)(outputs, outputs, 1, norm))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)


@dataclass(frozen=True)
class NASBench201(SearchSpace):
    """The cell of NAS-Bench-201, or smaller ones.

    Args:
        channels: of the first stage; each further stage doubles them.
        cells: of each stage (N).
        nodes: of a cell, >= 2: nodes (nodes - 1) / 2 choices. The published cell has 4.
        stages: >= 1; the published network has 3.
        stem_stride: 2 halves the images first.
        operations: names of the options, some of the five.

    Example:
        >>> space = NASBench201(channels=4)
        >>> space.choices, len(space.options)
        (6, 5)
        >>> space.build(["conv3x3"] * 6, image_channels=1, classes=10)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    channels: int = 16
    cells: int = 1
    nodes: int = 4
    stages: int = 3
    stem_stride: int = 1
    operations: tuple[str, ...] = tuple(OPERATIONS)

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        unknown = [name for name in self.operations if name not in OPERATIONS]
        if unknown or not self.operations:
            raise ValueError(f"NASBench201: operations are some of {', '.join(OPERATIONS)}, got {self.operations}")
        for name, least in (("channels", 1), ("cells", 1), ("nodes", 2), ("stages", 1), ("stem_stride", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"NASBench201: {name} must be at least {least}, got {getattr(self, name)}")

    @property
    def options(self) -> tuple[str, ...]:
        return self.operations

    @property
    def choices(self) -> int:
        return self.nodes * (self.nodes - 1) // 2

    def used(self, architecture: Sequence[str]) -> list[str]:
        kept = connected(self.nodes, [name != "none" for name in architecture])
        return [name if keep else "none" for name, keep in zip(architecture, kept, strict=True)]

    def edges(self, architecture: Sequence[str]) -> list[Edge]:
        names = ["input", *(f"node {i}" for i in range(1, self.nodes - 1)), "output"]
        shown = zip(edge_list(self.nodes), self.used(architecture), strict=True)
        return [Edge(names[source], names[target], name, "cell") for (source, target), name in shown if name != "none"]

    def _body(self, choice: ArchitectureChoice, image_channels: int, norm: Norm) -> tuple[nn.Module, int]:
        stem = nn.Conv2d(image_channels, self.channels, 3, self.stem_stride, 1, bias=False)
        layers: list[nn.Module] = [stem, norm(self.channels)]
        width = self.channels
        for stage in range(self.stages):
            if stage:
                layers.append(ResidualReduction(width, 2 * width, norm))
                width *= 2
            layers += [self._cell(choice, width, norm) for _ in range(self.cells)]
        return nn.Sequential(*layers, norm(width), nn.ReLU()), width

    def _cell(self, choice: ArchitectureChoice, width: int, norm: Norm) -> nn.Module:
        options = [OPERATIONS[name] for name in self.operations]
        edges = [OneOf([build(width, width, 1, norm) for build in options], choice, row) for row in range(self.choices)]
        return SumCell(edges, self.nodes)

    def _sizes(self) -> Sequence[str]:
        return ("channels", "cells", "stages", "stem_stride")
