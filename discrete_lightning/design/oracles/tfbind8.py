"""TFBind8: measured binding of the transcription factor SIX6 to every DNA 8-mer (Barrera et al. 2016,
https://doi.org/10.1126/science.aad2257), with its multilinear extension for gradients.

    f(x) = sum over all 8-mers s of score(s) * prod_i x[s_i, i]

is the expected score of independent letters with probabilities x.
"""

import io
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.functional._precision import without_autocast
from discrete_lightning.layers.constant_buffers import ConstantBuffers
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.storage.shipped import shipped_bytes

LETTERS: Final = "ACGT"
LENGTH: Final = 8
_ROWS: Final = 512  # sequences contracted at a time; each needs 64 KiB of memory


@cache
def _table() -> Tensor:
    file = io.BytesIO(shipped_bytes("design/oracles/tfbind8.npz"))
    scores = np.load(file, allow_pickle=False)["escore"].astype(np.float32)
    return torch.from_numpy(scores).view([4] * LENGTH)


class TFBind8(Recorded, ConstantBuffers):
    """Scores of DNA 8-mers (..., 4, 8), one-hot or probabilities; float32. The best score is 0.49105 (AGGTATCA).

    One-hot input gives exactly the measured score. Relaxed input gives the multilinear extension: its value at softmax(logits)
    is the exact expectation over independent letters, and its gradient is the exact gradient of that expectation.

    Example:
        >>> oracle = TFBind8()
        >>> best = torch.tensor([oracle.best // 4**i % 4 for i in reversed(range(8))])
        >>> round(float(oracle(torch.nn.functional.one_hot(best, 4).T.float())), 5)
        0.49105
    """

    table: Tensor

    channel_letters: Final = LETTERS

    def __init__(self) -> None:
        super().__init__()
        self.register_constant("table", _table().clone())

    @property
    def best(self) -> int:
        """The index of the best 8-mer: its letters (A, C, G, T = 0 ... 3) as digits in base 4, the first most significant."""
        return int(self.table.argmax())

    @without_autocast
    def forward(self, x: Tensor) -> Tensor:
        """Scores (...) of sequences (..., 4, 8).

        Raises:
            ValueError: the last two dimensions are not 4 letters and 8 positions.
        """
        if x.shape[-2:] != (len(LETTERS), LENGTH):
            raise ValueError(f"TFBind8 scores 4 letters at 8 positions (..., 4, 8), got shape {tuple(x.shape)}")
        flat = x.mT.reshape(-1, LENGTH, 4).to(self.table.dtype)
        return torch.cat([self._contract(part) for part in flat.split(_ROWS)]).view(x.shape[:-2])

    def _contract(self, x: Tensor) -> Tensor:
        partial = x[:, 0] @ self.table.view(4, -1)
        for position in range(1, LENGTH):
            partial = (x[:, position].unsqueeze(1) @ partial.view(len(x), 4, -1)).squeeze(1)
        return partial.view(len(x))
