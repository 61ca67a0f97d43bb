"""Candidate operations of the published cells: NAS-Bench-201 (https://arxiv.org/abs/2001.00326), DARTS
(https://arxiv.org/abs/1806.09055) and the inverted residuals of layer-wise searches (https://arxiv.org/abs/1812.03443).

All take (B, inputs, H, W) to (B, outputs, H / stride, W / stride).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]
Operation = Callable[[int, int, int, Norm], nn.Module]


def batch_norm(channels: int) -> nn.Module:
    """The norm of a network that is trained alone."""
    return nn.BatchNorm2d(channels)


def search_norm(channels: int) -> nn.Module:
    """The norm of a network that is searched. It uses the statistics of the batch in eval(), too, since running ones
    would mix all paths, and has no scale, which would rescale the options relative to each other."""
    return nn.BatchNorm2d(channels, affine=False, track_running_stats=False)


class Zero(nn.Module):
    """The operation `none`, no connection: zeros."""

    def __init__(self, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.outputs, self.stride = outputs, stride

    def forward(self, x: Tensor) -> Tensor:
        height, width = (-(-side // self.stride) for side in x.shape[-2:])
        return x.new_zeros(len(x), self.outputs, height, width)

    def extra_repr(self) -> str:
        return f"{self.outputs}, stride={self.stride}"


class FactorizedReduce(nn.Module):
    """A skip connection that halves height and width: two 1 x 1 convolutions of stride 2, one of them shifted by a pixel."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[..., 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], 1))


def zero(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:  # noqa: ARG001
    """The operation `none`: no connection."""
    return Zero(outputs, stride)


def skip(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """The identity where shapes allow it, otherwise a 1 x 1 convolution or a FactorizedReduce."""
    if stride == 1:
        return nn.Identity() if inputs == outputs else convolution(1)(inputs, outputs, 1, norm)
    return FactorizedReduce(inputs, outputs, norm)


def convolution(kernel: int) -> Operation:
    """ReLU, convolution, norm."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(nn.ReLU(), layer, norm(outputs))

    return build


def pool(kind: type[nn.Module], normalized: bool = True) -> Operation:
    """3 x 3 pooling; with a norm in DARTS, without one in NAS-Bench-201."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        if inputs != outputs:
            raise ValueError(f"pooling keeps the number of channels, got {inputs} inputs and {outputs} outputs")
        options = {"count_include_pad": False} if kind is nn.AvgPool2d else {}
        layer = kind(3, stride, 1, **options)
        return nn.Sequential(layer, norm(outputs)) if normalized else layer

    return build


def separable(kernel: int) -> Operation:
    """Twice: ReLU, depthwise convolution, pointwise convolution, norm. Only the first one has the stride."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        def half(width: int, first: int) -> list[nn.Module]:
            depthwise = nn.Conv2d(inputs, inputs, kernel, first, kernel // 2, groups=inputs, bias=False)
            return [nn.ReLU(), depthwise, nn.Conv2d(inputs, width, 1, bias=False), norm(width)]

        return nn.Sequential(*half(inputs, stride), *half(outputs, 1))

    return build


def dilated(kernel: int) -> Operation:
    """ReLU, depthwise convolution of dilation 2, pointwise convolution, norm."""

    def build(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
        depthwise = nn.Conv2d(inputs, inputs, kernel, stride, kernel - 1, dilation=2, groups=inputs, bias=False)
        return nn.Sequential(nn.ReLU(), depthwise, nn.Conv2d(inputs, outputs, 1, bias=False), norm(outputs))

    return build


class InvertedResidual(nn.Module):
    """Pointwise expansion, depthwise convolution, pointwise projection (https://arxiv.org/abs/1801.04381), with a residual
    connection where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm, kernel: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.body = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            norm(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            norm(wide),
            nn.ReLU(),
            nn.Conv2d(wide, outputs, 1, bias=False),
            norm(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def inverted_residual(kernel: int, expansion: int) -> Operation:
    """An InvertedResidual of this kernel and expansion."""
    return lambda inputs, outputs, stride, norm: InvertedResidual(inputs, outputs, stride, norm, kernel, expansion)
