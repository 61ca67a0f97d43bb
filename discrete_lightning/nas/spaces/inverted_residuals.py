"""The layer-wise space of FBNet (Wu et al. 2018, https://arxiv.org/abs/1812.03443) and ProxylessNAS
(https://arxiv.org/abs/1812.00332): each layer is an inverted residual of some kernel and expansion, or is skipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.one_of import OneOf
from discrete_lightning.nas.operations import Norm, inverted_residual, skip
from discrete_lightning.nas.spaces.space import Edge, SearchSpace


@dataclass(frozen=True)
class InvertedResidualSpace(SearchSpace):
    """Layers in sequence; each stage has `layers` layers of one width, of which the first has the stage's stride.

    The options are `skip` (with a small convolution where the shape changes) and `k<kernel>_e<expansion>`.

    Args:
        channels: width of each stage.
        strides: of each stage's first layer.
        layers: in each stage.
        kernels: odd numbers.
        expansions: factors of the inner width.

    Example:
        >>> space = InvertedResidualSpace(channels=(8, 16), strides=(1, 2), layers=2, kernels=(3,), expansions=(1, 3))
        >>> space.choices, space.options
        (4, ('skip', 'k3_e1', 'k3_e3'))
    """

    channels: tuple[int, ...] = (16, 32, 64)
    strides: tuple[int, ...] = (1, 2, 2)
    layers: int = 2
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[int, ...] = (1, 3, 6)

    def __post_init__(self) -> None:
        for name in ("channels", "strides", "kernels", "expansions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(
                    f"InvertedResidualSpace: {name} are one or more numbers >= 1, got {getattr(self, name)}"
                )
        if len(self.channels) != len(self.strides) or self.layers < 1:
            raise ValueError(
                f"InvertedResidualSpace: each stage needs a width and a stride, layers >= 1; got {len(self.channels)} widths, "
                f"{len(self.strides)} strides, layers={self.layers}"
            )
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"InvertedResidualSpace: kernels must be odd, so that sides are kept; got {self.kernels}")

    @property
    def options(self) -> tuple[str, ...]:
        return ("skip", *(f"k{kernel}_e{expansion}" for kernel in self.kernels for expansion in self.expansions))

    @property
    def choices(self) -> int:
        return self.layers * len(self.channels)

    def edges(self, architecture: Sequence[str]) -> list[Edge]:
        names = ["input", *(f"layer {i + 1}" for i in range(self.choices))]
        return [Edge(names[i], names[i + 1], operation, "chain") for i, operation in enumerate(architecture)]

    def _body(self, choice: ArchitectureChoice, image_channels: int, norm: Norm) -> tuple[nn.Module, int]:
        blocks = [skip, *(inverted_residual(kernel, e) for kernel in self.kernels for e in self.expansions)]
        width = self.channels[0]
        layers: list[nn.Module] = [nn.Conv2d(image_channels, width, 3, 1, 1, bias=False), norm(width), nn.ReLU()]
        row = 0
        for outputs, stride in zip(self.channels, self.strides, strict=True):
            for layer in range(self.layers):
                options = [build(width, outputs, stride if layer == 0 else 1, norm) for build in blocks]
                layers.append(OneOf(options, choice, row))
                width, row = outputs, row + 1
        return nn.Sequential(*layers, norm(width), nn.ReLU()), width

    def _sizes(self) -> Sequence[str]:
        return ("channels", "strides")


class LayerChain(InvertedResidualSpace):
    """The former name of InvertedResidualSpace, for configs that were written with it."""
