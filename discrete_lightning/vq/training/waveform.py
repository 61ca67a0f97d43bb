"""A small convolutional encoder and decoder of waveforms (Zeghidour et al. 2021, section III.A;
https://arxiv.org/abs/2107.03312), not causal."""

from collections.abc import Sequence

from torch import Tensor, nn


class ResidualUnit(nn.Module):
    """x + conv1(elu(conv7 with holes(elu(x))))."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ELU(), nn.Conv1d(channels, channels, 7, dilation=dilation, padding=3 * dilation),
            nn.ELU(), nn.Conv1d(channels, channels, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class WaveformEncoder(nn.Sequential):
    """Samples (B, N) to vectors (B, N / product of the strides, dim).

    Example:
        >>> import torch
        >>> WaveformEncoder(hidden=4, dim=8, strides=[2, 4])(torch.zeros(2, 80)).shape
        torch.Size([2, 10, 8])
    """

    def __init__(self, hidden: int, dim: int, strides: Sequence[int]) -> None:
        layers: list[nn.Module] = [nn.Conv1d(1, hidden, 7, padding=3)]
        width = hidden
        for stride in strides:
            layers += [ResidualUnit(width, 1), ResidualUnit(width, 3), nn.ELU()]
            layers += [nn.Conv1d(width, 2 * width, 2 * stride, stride=stride, padding=(stride + 1) // 2)]
            width *= 2
        super().__init__(*layers, nn.ELU(), nn.Conv1d(width, dim, 3, padding=1))

    def forward(self, samples: Tensor) -> Tensor:
        return super().forward(samples.unsqueeze(1)).movedim(1, -1)


class WaveformDecoder(nn.Sequential):
    """Vectors (B, T, dim) to samples (B, T * product of the strides), mirroring the encoder.

    Example:
        >>> import torch
        >>> WaveformDecoder(hidden=4, dim=8, strides=[2, 4])(torch.zeros(2, 10, 8)).shape
        torch.Size([2, 80])
    """

    def __init__(self, hidden: int, dim: int, strides: Sequence[int]) -> None:
        width = hidden * 2 ** len(strides)
        layers: list[nn.Module] = [nn.Conv1d(dim, width, 7, padding=3)]
        for stride in reversed(strides):
            layers += [nn.ELU(), nn.ConvTranspose1d(
                width, width // 2, 2 * stride, stride=stride, padding=(stride + 1) // 2, output_padding=stride % 2
            )]  # fmt: skip
            width //= 2
            layers += [ResidualUnit(width, 1), ResidualUnit(width, 3)]
        super().__init__(*layers, nn.ELU(), nn.Conv1d(width, 1, 7, padding=3))

    def forward(self, vectors: Tensor) -> Tensor:
        return super().forward(vectors.movedim(-1, 1)).squeeze(1)
