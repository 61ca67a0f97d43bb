"""How near sounds are to their targets, as metrics."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio

from discrete_lightning.vq.functional.mel import mel_distance

SIZES = (64, 128, 256, 512)


class _MeanOverSounds(Metric):
    """The mean of `_each` over sounds; 0 of none."""

    is_differentiable = True
    full_state_update = False
    total: Tensor
    lost: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("lost", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def _each(self, samples: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def update(self, samples: Tensor, target: Tensor) -> None:
        """Adds sounds (B, N) and their targets (B, N).

        Raises:
            ValueError: if the shapes differ.
        """
        if samples.shape != target.shape or samples.ndim != 2:
            raise ValueError(
                f"sounds and targets have one shape (B, N), got {tuple(samples.shape)} and {tuple(target.shape)}"
            )
        # Kahan summation: a float32 sum forgets small terms after many updates, and not every device has float64
        term = self._each(samples.detach().float(), target.detach().float()).sum() - self.lost
        total = self.total + term
        self.lost = (total - self.total) - term
        self.total = total
        # a new tensor: a state that inference mode made (validate before fit) must not be changed in place
        self.count = self.count + len(samples)

    def compute(self) -> Tensor:
        return (self.total - self.lost) / self.count.clamp_min(1)


class ScaleInvariantSNR(_MeanOverSounds):
    """Scale-invariant signal-to-noise ratio in dB (Luo and Mesgarani 2018, https://arxiv.org/abs/1711.00541), mean over sounds.

    With both sounds of mean 0, s the target's multiple that is nearest to the sound x: 10 log10(|s|^2 / |x - s|^2).

    Example:
        >>> metric = ScaleInvariantSNR()
        >>> sound = torch.sin(torch.arange(4000.0)).unsqueeze(0)
        >>> metric.update(0.5 * sound + 0.05 * torch.cos(torch.arange(4000.0)), sound)
        >>> metric.compute().round()
        tensor(20.)
    """

    higher_is_better = True

    def _each(self, samples: Tensor, target: Tensor) -> Tensor:
        return scale_invariant_signal_noise_ratio(samples, target)


class MelDistance(_MeanOverSounds):
    """Mean absolute difference of the log10-mel spectrograms of sounds and of their targets, >= 0: each sound counts once.

    0.1 is 2 dB. Spectrograms are those of `vq.functional.mel`, with frames of 64 to 512 samples a quarter apart.

    Args:
        sample_rate: samples a second.
        bands: of a spectrogram.

    Example:
        >>> metric = MelDistance(sample_rate=8000)
        >>> sound = torch.sin(torch.arange(4000.0)).unsqueeze(0)
        >>> metric.update(sound, sound)
        >>> metric.compute()
        tensor(0.)
    """

    higher_is_better = False

    def __init__(self, sample_rate: int = 8000, bands: int = 40) -> None:
        super().__init__()
        self.sample_rate, self.bands = sample_rate, bands

    def _each(self, samples: Tensor, target: Tensor) -> Tensor:
        return mel_distance(samples, target, self.sample_rate, SIZES, self.bands)
