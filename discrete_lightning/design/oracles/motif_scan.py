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

from discrete_lightning.design.circular import over_origin
from discrete_lightning.design.files import is_path, read_jaspar, read_motif
from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.functional._precision import without_autocast
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.layers.recorded import Recorded
from discrete_lightning.storage.shipped import shipped_bytes

_ROWS = "ACGT"


class MotifScan(Recorded, ConstantBuffers):
    """Score of DNA (batch, 4, length) by its matches to a motif, on both strands; differentiable, float32.

    Shipped matrices, by name or JASPAR identifier: GATA2 (MA0036.4), GABPA (MA0062.4), FOS::JUN (MA0099.4), TP53 (MA0106.3),
    TBP (MA0108.3), CTCF (MA0139.2), JUN (MA0488.2). Any file in the format of JASPAR, PFM, MEME or TRANSFAC can be used, also
    packed by gzip. Probabilities in it are taken to be the frequencies of 100 sites if the file does not say their number
    (MEME: 20). The background is 0.25 for each letter, whatever the file says.

    Args:
        motif: a shipped name or identifier, or the path of a file.
        reduce: "logsumexp" over places and strands (strength and number of sites) or "max" (the best site).
        pseudocount: added to the counts of a position, a quarter to each letter.
        name: the identifier or name of the motif in a file of several; None: the first.
        circular: whether the sequence is a circle, such as a plasmid: places over its origin count, too.

    Raises:
        ValueError: there is no such motif, the file is none of motifs, or what it holds may be counts or probabilities; or
            (when called) a sequence is shorter than the motif.
        OSError: the file cannot be read.

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
        self,
        motif: str | Path = "GATA2",
        reduce: Literal["logsumexp", "max"] = "logsumexp",
        pseudocount: float = 0.8,
        name: str | None = None,
        circular: bool = False,
    ) -> None:
        super().__init__()
        if reduce not in ("logsumexp", "max"):
            raise ValueError(f"MotifScan: reduce must be 'logsumexp' or 'max', got {reduce!r}")
        check_positive(pseudocount=pseudocount)
        self.motif, self.reduce, self.circular = str(motif), reduce, circular
        with real_device():
            counts = _counts(self.motif, name)
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
        """Log-odds (batch, 2, places) at each place of the given strand and of the reverse strand.

        There are length - width + 1 places, in a circular sequence as many as letters.
        """
        if x.ndim != 3 or x.shape[1] != 4 or x.shape[2] < self.width:
            raise ValueError(
                f"MotifScan({self.motif!r}) takes DNA (batch, 4, length) of {self.width} letters or more, got {tuple(x.shape)}"
            )
        if self.circular:
            x = over_origin(x, self.width - 1, -1)
        both = torch.stack([self.weight, self.weight.flip(0, 1)])  # reversing ACGT gives the complements TGCA
        return nn.functional.conv1d(x.float(), both)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,), in nats."""
        hits = self.hits(x).flatten(1)
        return hits.logsumexp(1) if self.reduce == "logsumexp" else hits.amax(1)


def _counts(motif: str, name: str | None) -> Tensor:
    """Of a shipped motif or of one in a file."""
    shipped = dict[str, str]()
    for file in files("discrete_lightning.design.oracles").joinpath("jaspar").iterdir():
        if file.name.endswith(".jaspar"):
            text = shipped_bytes(f"design/oracles/jaspar/{file.name}").decode()
            shipped |= dict.fromkeys(text.splitlines()[0].removeprefix(">").split()[:2], text)
    if motif in shipped and name is None:
        return read_jaspar(shipped[motif], motif)
    if is_path(motif) or Path(motif).is_file():
        return read_motif(motif, name).counts
    raise ValueError(
        f"MotifScan: {motif!r} is neither a file nor a shipped motif; these are {', '.join(sorted(shipped))}"
        if name is None
        else f"MotifScan: name={name!r} chooses a motif of a file, and {motif!r} is no file"
    )
