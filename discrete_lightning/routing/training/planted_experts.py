"""A regression with planted experts: which expert is right depends on the region of the input.

x ~ N(0, I_d);   region = argmax_r w_r . x;   y = A_region x + noise;   w_r ~ N(0, I_d), entries of A_r ~ N(0, 1 / d)
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from discrete_lightning.data.dataset import as_is
from discrete_lightning.data.splits import Split, SplitDataModule
from discrete_lightning.functional._arguments import check_at_least, check_not_negative
from discrete_lightning.routing.training.rows import Rows


class PlantedExperts(SplitDataModule):
    """Rows (x, y), and in validation and test the region of each row, which training does not see.

    Batches are `(x, y)` or `(x, y, region)`: float32 (B, d) each, and int64 (B,). Without an expert for each region a model
    cannot reach the noise: the variance of y is 1 + noise^2.

    Args:
        dim: d.
        regions: number of regions, each with a matrix of its own.
        noise: standard deviation of what is added to y.
        rows: of the training split; validation and test have an eighth each.
        batch_size: rows a batch and device, 1 or more.
        num_workers: processes that prepare batches.
        seed: of directions, matrices and rows.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> data = PlantedExperts(rows=64, batch_size=8)
        >>> x, y, region = next(iter(data.test_dataloader()))
        >>> x.shape, y.shape, region.shape
        (torch.Size([8, 16]), torch.Size([8, 16]), torch.Size([8]))
    """

    collate = staticmethod(as_is)

    def __init__(
        self,
        dim: int = 16,
        regions: int = 8,
        noise: float = 0.1,
        rows: int = 65_536,
        batch_size: int = 512,
        *,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, seed)
        check_at_least(1, dim=dim, regions=regions)
        check_at_least(8, rows=rows)
        check_not_negative(noise=noise)
        self.dim, self.regions, self.noise, self.rows = dim, regions, noise, rows

    def build(self) -> dict[Split, Dataset[Any]]:
        generator = torch.Generator().manual_seed(self.seed)
        directions = torch.randn(self.regions, self.dim, generator=generator)
        matrices = torch.randn(self.regions, self.dim, self.dim, generator=generator) / self.dim**0.5

        def draw(count: int) -> tuple[Tensor, Tensor, Tensor]:
            x = torch.randn(count, self.dim, generator=generator)
            region = (x @ directions.T).argmax(-1)
            noise = self.noise * torch.randn(count, self.dim, generator=generator)
            y = noise
            for each in range(self.regions):  # not matrices[region], which is rows x d x d numbers
                here = region == each
                y[here] += x[here] @ matrices[each].T
            return x, y, region

        train = draw(self.rows)
        return {
            "train": Rows(*train[:2]),
            "validation": Rows(*draw(self.rows // 8)),
            "test": Rows(*draw(self.rows // 8)),
        }
