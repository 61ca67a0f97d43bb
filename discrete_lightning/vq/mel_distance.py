"""The distance of mel spectrograms as a metric."""

import torch
from torch import Tensor
from torchmetrics import Metric

from discrete_lightning.vq.functional.mel import mel_distance

SIZES = (64, 128, 256, 512)


class MelDistance(Metric):
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

    is_differentiable = True
    higher_is_better = False
    full_state_update = False
    total: Tensor
    lost: Tensor
    count: Tensor

    def __init__(self, sample_rate: int = 8000, bands: int = 40) -> None:
        super().__init__()
        self.sample_rate, self.bands = sample_rate, bands
        self.add_state("total", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("lost", torch.tensor(0.0, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, samples: Tensor, target: Tensor) -> None:
        """Adds sounds (B, N) and their targets (B, N).

        Raises:
            ValueError: if the shapes differ.
        """
        # Kahan summation: a float32 sum forgets small terms after many updates, and not every device has float64
        distances = mel_distance(samples.detach(), target.detach(), self.sample_rate, SIZES, self.bands)
        term = distances.float().sum() - self.lost
        total = self.total + term
        self.lost = (total - self.total) - term
        self.total = total
        self.count = self.count + len(samples)

    def compute(self) -> Tensor:
        return (self.total - self.lost) / self.count.clamp_min(1)
