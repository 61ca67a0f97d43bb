"""A sequence logo of the designs (Schneider and Stephens 1990, https://doi.org/10.1093/nar/18.20.6097), drawn by logomaker."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer

from discrete_lightning.design import Design
from discrete_lightning.design.alphabet import DNA, PROTEIN, RNA
from discrete_lightning.design.training.design_writer import DesignCallback
from discrete_lightning.protocols import DescribesDesigns, ReportsDesigns
from discrete_lightning.training.pictures import never_ends_a_run, save_figure

_MOST = 120  # the number of positions that can be read in one picture


class SequenceLogo(DesignCallback):
    """Draws `logo.png`: the information of each position over the designs, in bits. Needs logomaker and matplotlib.

    Of longer sequences 120 positions are shown, from the first position at which the designs (or the template) differ.

    Args:
        filename: of the picture in the run's folder. An existing file is not overwritten.
    """

    def __init__(self, filename: str = "logo.png") -> None:
        self.filename = filename

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        try:
            import logomaker  # noqa: F401
        except ImportError:
            raise ImportError(
                "SequenceLogo draws with logomaker, which is not installed: pip install 'discrete_lightning[recipes]', "
                "or leave the callback out"
            ) from None

    def write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ReportsDesigns)  # setup() has checked it
        designs: list[Design] = pl_module.designs()
        if not designs:
            return
        sequences = [design.sequence for design in designs]
        letters, template = None, None
        if isinstance(pl_module, DescribesDesigns):
            letters, template = pl_module.design_letters, pl_module.design_template
        columns = zip(*sequences, *([template] if template else []), strict=True)
        start = next((i for i, column in enumerate(columns) if len(set(column)) > 1), 0)
        caption = f"The {len(sequences)} designs at the end of the search: information of each letter at each position"
        with never_ends_a_run(self.filename):
            save_figure(trainer, draw_logo(sequences, start, letters), self.filename, "designs/logo", caption)


def information(sequences: Sequence[str], letters: str) -> Any:
    """The information of each letter at each position of sequences of equal length, in bits, as a pandas table.

    Position i has R(i) = log2(K) - H(i) bits, where K is the number of letters of the alphabet (also of those that do not
    occur) and H(i) the entropy of the letters at i. They are divided among the letters in proportion to their frequencies. A
    position at which all sequences have the same letter has log2(K) bits, 2 for DNA.

    Args:
        sequences: one or more.
        letters: of the alphabet.

    Example:
        >>> information(["AAAA", "AAAC"], "ACGT").sum(axis=1).round(2).tolist()
        [2.0, 2.0, 2.0, 1.0]
    """
    import pandas as pd  # type: ignore[import-untyped]

    shares = np.array([[column.count(letter) for letter in letters] for column in zip(*sequences, strict=True)], float)
    shares /= len(sequences)
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1, keepdims=True)
    return pd.DataFrame(shares * (np.log2(len(letters)) - entropy), columns=list(letters))


def _smallest_alphabet(occurring: set[str]) -> str:
    known = (each.letters for each in (DNA, RNA, PROTEIN))
    return next((letters for letters in known if occurring <= set(letters)), "".join(sorted(occurring)))


def draw_logo(sequences: list[str], start: int = 0, letters: str | None = None) -> Any:
    """A matplotlib figure of the logo of sequences of equal length.

    Args:
        sequences: one or more.
        start: the first position shown; at most 120 positions are.
        letters: of the alphabet. If None: those of DNA, RNA or protein, whichever has all letters that occur, else the letters
            that occur.
    """
    import logomaker
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    start = max(0, min(start, len(sequences[0]) - _MOST))
    shown = [sequence[start : start + _MOST] for sequence in sequences]
    figure = Figure(figsize=(max(4.0, 0.22 * len(shown[0]) + 1), 2.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the dependencies of logomaker
        matrix = information(shown, letters or _smallest_alphabet(set("".join(sequences))))
        colors = "classic" if set(matrix.columns) <= set("ACGTU") else "chemistry"
        known = set(matrix.columns) <= set("ACDEFGHIKLMNPQRSTVWY") | {"U"}
        logomaker.Logo(matrix, ax=axes, color_scheme=colors if known else "dodgerblue")
    axes.set_ylabel("bits")
    axes.set_xlabel(f"position (from {start})" if start else "position")
    ticks = np.arange(0, len(shown[0]), 1 if len(shown[0]) <= 20 else 10)
    axes.set_xticks(ticks, [str(start + tick) for tick in ticks])
    axes.set_title(f"{len(sequences)} designs")
    return figure
