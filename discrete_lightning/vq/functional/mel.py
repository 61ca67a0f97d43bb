"""Mel spectrograms (Stevens et al. 1937; the scale of O'Shaughnessy 1987), to compare sounds as they are heard.

mel(f) = 2595 log10(1 + f / 700),   log-mel = log10(max(|STFT| triangles, floor))
"""

from functools import lru_cache

import torch
from torch import Tensor

from discrete_lightning.functional._precision import float32, without_autocast

_FLOOR = 1e-4  # of amplitudes, -80 dB of a full one


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a pass of validation may be the first, and training uses the same tensor
def _triangles(sample_rate: int, size: int, bands: int) -> Tensor:
    """The share of each frequency of an FFT in each band, float32 (bands, size / 2 + 1)."""
    frequency = torch.linspace(0, sample_rate / 2, size // 2 + 1, dtype=torch.float64)
    top = 2595 * torch.log10(torch.tensor(1 + sample_rate / 2 / 700, dtype=torch.float64))
    edges = 700 * (10 ** (torch.linspace(0, 1, bands + 2, dtype=torch.float64) * top / 2595) - 1)
    low, middle, high = (edges[i : i + bands].unsqueeze(1) for i in range(3))
    rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    weights = torch.minimum(rising, falling).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True).clamp_min(1e-9)).float()


@without_autocast
def log_mel(samples: Tensor, sample_rate: int, size: int, bands: int) -> Tensor:
    """The base-10 logarithm of the amplitude in each band and frame.

    Args:
        samples: (B, N), N >= 1.
        sample_rate: samples a second.
        size: of a frame in samples, even; frames lie a quarter of it apart.
        bands: of equal width in mel, from 0 to half the sample rate.

    Returns:
        (B, bands, frames), float32, >= -4.

    Example:
        >>> log_mel(torch.zeros(1, 800), sample_rate=8000, size=256, bands=20).shape
        torch.Size([1, 20, 13])
    """
    samples = float32(samples)
    window = torch.hann_window(size, dtype=samples.dtype, device=samples.device)
    spectrum = torch.stft(
        samples, size, size // 4, window=window, center=True, pad_mode="constant", return_complex=True
    )
    # the square root's gradient is infinite at 0
    amplitude = (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt() * (2 / window.sum())
    weights = _triangles(sample_rate, size, bands).to(amplitude)
    return (weights @ amplitude).clamp_min(_FLOOR).log10()


def mel_distance(samples: Tensor, target: Tensor, sample_rate: int, sizes: tuple[int, ...], bands: int) -> Tensor:
    """Mean absolute difference of log-mel spectrograms, over frames of several sizes (B,); 1 is a factor of 10 (20 dB).

    Args:
        samples: (B, N).
        target: likewise.
        sample_rate: samples a second.
        sizes: of frames, each even.
        bands: of a spectrogram; less than a quarter of a frame, if that is fewer.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> x = torch.sin(torch.arange(800.0)).unsqueeze(0)
        >>> mel_distance(x, x, 8000, (256, 512), 20), mel_distance(x / 10, x, 8000, (256,), 20) < 1
        (tensor([0.]), tensor([True]))
    """
    if samples.shape != target.shape or samples.ndim != 2:
        raise ValueError(
            f"samples and target have one shape (B, N), got {tuple(samples.shape)} and {tuple(target.shape)}"
        )
    distances = [
        (log_mel(samples, sample_rate, size, count) - log_mel(target, sample_rate, size, count)).abs().mean((1, 2))
        for size in sizes
        for count in [max(1, min(bands, size // 8))]
    ]
    return torch.stack(distances).mean(0)
