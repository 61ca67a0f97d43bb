"""A scan of both strands of DNA with a position frequency matrix (Stormo 2000, https://doi.org/10.1093/bioinformatics/16.1.16).

    W[i, b] = ln((count[i, b] + pseudocount / 4) / (total[i] + pseudocount) / background[b])
    hit(l) = sum_i sum_b x[b, l + i] W[i, b], on either strand;  score = ln sum_l exp hit(l), or the best hit

The logarithm of the sum is the log of the expected occupancy at low concentration: it grows with the strength and the number of
sites.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor, nn

from discrete_lightning.functional._precision import without_autocast
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.layers.recorded import Recorded

_ROWS = "ACGT"


class MotifScan(Recorded, ConstantBuffers):
    """Score of DNA (batch, 4, length) by its matches to a motif, on both strands; differentiable, float32.

    Shipped matrices, by name or JASPAR identifier: GATA2 (MA0036.4), GABPA (MA0062.4), FOS::JUN (MA0099.4), TP53 (MA0106.3),
    TBP (MA0108.3), CTCF (MA0139.2), JUN (MA0488.2). Any file in JASPAR's format can be used.

    Args:
        motif: a shipped name or identifier, or the path of a .jaspar file.
        reduce: "logsumexp" over places and strands (strength and number of sites) or "max" (the best site).
        pseudocount: added to the counts of a position, a quarter to each letter.

    Raises:
        ValueError: there is no such motif, or the file is not a JASPAR matrix; or (when called) a sequence is shorter than
            the motif.

    Example:
        >>> from discrete_lightning.design.alphabet import DNA
        >>> scan = MotifScan("GATA2", reduce="max")
        >>> x = torch.nn.functional.one_hot(DNA.encode("AAAACTTATCTAAAA"), 4).T.float()
        >>> scan(x[None]) == scan(x.flip(0, 1)[None])  # the other strand
        tensor([True])
    """

    weight: Tensor

    channel_letters: Final = _ROWS

    def __init__(
        self, motif: str = "GATA2", reduce: Literal["logsumexp", "max"] = "logsumexp", pseudocount: float = 0.8
    ) -> None:
        super().__init__()
        if reduce not in ("logsumexp", "max"):
            raise ValueError(f"MotifScan: reduce must be 'logsumexp' or 'max', got {reduce!r}")
        if not pseudocount > 0:
            raise ValueError(f"MotifScan: pseudocount must be positive, got {pseudocount}")
        self.motif, self.reduce = motif, reduce
        with real_device():
            counts = read_jaspar(_text(motif), motif)
            frequencies = (counts + pseudocount / 4) / (counts.sum(0) + pseudocount)
            self.register_constant("weight", (frequencies / 0.25).log().float())

    @property
    def width(self) -> int:
        """The number of positions of the motif."""
        return self.weight.shape[1]

    def extra_repr(self) -> str:
        return f"{self.motif!r}, reduce={self.reduce!r}"

    @without_autocast
    def hits(self, x: Tensor) -> Tensor:
        """Log-odds (batch, 2, length - width + 1) at each place of the given strand and of the reverse strand."""
        if x.ndim != 3 or x.shape[1] != 4 or x.shape[2] < self.width:
            raise ValueError(
                f"MotifScan({self.motif!r}) takes DNA (batch, 4, length) of {self.width} letters or more, got {tuple(x.shape)}"
            )
        both = torch.stack([self.weight, self.weight.flip(0, 1)])  # reversing ACGT gives the complements TGCA
        return nn.functional.conv1d(x.float(), both)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,), in nats."""
        hits = self.hits(x).flatten(1)
        return hits.logsumexp(1) if self.reduce == "logsumexp" else hits.amax(1)


def read_jaspar(text: str, name: str = "the file") -> Tensor:
    r"""Counts (4, width), rows A, C, G, T, of the first matrix of a text in JASPAR's format.

    Raises:
        ValueError: the text holds no matrix.

    Example:
        >>> read_jaspar(">MA1 X\nA [1 2]\nC [3 4]\nG [5 6]\nT [7 8]").tolist()
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    """
    rows: dict[str, list[float]] = {}
    for line in text.splitlines():
        if line.startswith(">") and rows:
            break
        letter, _, numbers = line.strip().partition("[")
        if letter.strip() in _ROWS and letter.strip() and numbers:
            try:
                rows[letter.strip()] = [float(number) for number in numbers.rstrip("] \t").split()]
            except ValueError:
                raise ValueError(
                    f"{name} is not a JASPAR matrix: a row holds something other than numbers: {line!r}"
                ) from None
    widths = {len(row) for row in rows.values()}
    if set(rows) != set(_ROWS) or len(widths) != 1 or 0 in widths:
        found = ", ".join(f"{letter}: {len(row)} numbers" for letter, row in rows.items()) or "none"
        raise ValueError(f"{name} is not a JASPAR matrix: rows A, C, G, T of equal length were expected, found {found}")
    counts = torch.tensor([rows[letter] for letter in _ROWS], dtype=torch.float64)
    if (counts < 0).any() or not (counts.sum(0) > 0).all():
        raise ValueError(f"{name} is not a matrix of counts: a number is negative, or all counts of a position are 0")
    return counts


def _text(motif: str) -> str:
    shipped = {}
    for file in files("discrete_lightning.design.oracles").joinpath("jaspar").iterdir():
        if file.name.endswith(".jaspar"):
            text = file.read_text(encoding="utf-8")
            identifier, name = text.splitlines()[0].removeprefix(">").split()[:2]
            shipped[identifier], shipped[name] = text, text
    if motif in shipped:
        return shipped[motif]
    if Path(motif).is_file():
        return Path(motif).read_text(encoding="utf-8")
    raise ValueError(
        f"MotifScan: {motif!r} is neither a file nor a shipped motif; these are {', '.join(sorted(shipped))}"
    )
