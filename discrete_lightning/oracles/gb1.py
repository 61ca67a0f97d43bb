"""GB1: measured fitness of protein G's domain B1 at four sites (Wu et al. 2016, https://doi.org/10.7554/eLife.16965)."""

from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.alphabet import PROTEIN
from discrete_lightning.nn import Float32State

LENGTH: Final = 4


@cache
def _table() -> Tensor:
    with files("discrete_lightning.oracles").joinpath("gb1.npz").open("rb") as file:
        values = np.load(file)["log_enrichment"]
    return torch.from_numpy(values.astype(np.float32))


class GB1(Float32State):
    """Log enrichment of the 149,361 measured combinations of sites 39, 40, 41 and 54 (wild type VDGV); NaN where not measured.

    A judge of designs. It is a look-up without gradient: to search it, train a surrogate on a part (recipes/design/gb1.py).

    Example:
        >>> x = torch.nn.functional.one_hot(PROTEIN.encode("VDGV"), 20).T[None].float()
        >>> round(float(GB1()(x)), 3)
        0.0
    """

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", _table().clone(), persistent=False)

    def measured(self) -> tuple[Tensor, Tensor]:
        """All measured combinations, int64 (N, 4) in the order of the alphabet of proteins, and their log enrichment (N,)."""
        index = self.table.isfinite().nonzero().flatten()
        places = 20 ** torch.arange(LENGTH - 1, -1, -1, device=index.device)
        return index.unsqueeze(1) // places % 20, self.table[index]

    def forward(self, x: Tensor) -> Tensor:
        """Log enrichment (batch,) of one-hot sequences (batch, 20, 4).

        Raises:
            ValueError: if the shape is another one.
        """
        if x.ndim != 3 or x.shape[1:] != (len(PROTEIN), LENGTH):
            raise ValueError(f"GB1 scores 20 letters at 4 sites (batch, 20, 4), got {tuple(x.shape)}")
        places = 20 ** torch.arange(LENGTH - 1, -1, -1, device=x.device)
        return self.table[(x.argmax(1) * places).sum(1)]
