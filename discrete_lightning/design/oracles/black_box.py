"""A Python function of strings as an oracle without gradient."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import DNA, Alphabet, alphabet
from discrete_lightning.design.oracles.one_output import described
from discrete_lightning.layers.recorded import Recorded


class BlackBox(Recorded, nn.Module):
    """Scores sequences with a Python function of strings. It has no gradient.

    Use SurrogateSearch, or GradientSearch with the estimator LeaveOneOut.

    Args:
        function: takes a list of sequences and returns one number for each: a list, an array or a tensor.
        letters: "DNA", "RNA", "protein", an Alphabet, or its letters.

    Example:
        >>> oracle = BlackBox(lambda sequences: [sequence.count("G") for sequence in sequences])
        >>> oracle(torch.nn.functional.one_hot(DNA.encode("GAGA"), 4).T[None].float())
        tensor([2.])
    """

    def __init__(self, function: Callable[[list[str]], Sequence[float]], letters: str | Alphabet = DNA) -> None:
        super().__init__()
        self.function, self.alphabet = function, alphabet(letters)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,) of one-hot sequences (batch, letters, length).

        Raises:
            ValueError: x is not one-hot, or the function does not return one score for each sequence.
        """
        if not bool(((x == 0) | (x == 1)).all()):
            raise ValueError(
                "BlackBox scores sequences, and these are relaxed (not one-hot): use an estimator whose samples are hard, "
                "such as LeaveOneOut, or use SurrogateSearch"
            )
        sequences = [self.alphabet.decode(row) for row in x.argmax(1)]
        values = self.function(sequences)
        try:
            scores = torch.as_tensor(values, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(
                f"the function of BlackBox must return one number a sequence, got {described(values)}"
            ) from None
        if scores.shape not in ((len(sequences),), (len(sequences), 1)):
            raise ValueError(
                f"the function of BlackBox must return one number a sequence: {len(sequences)} sequences, "
                f"shape {tuple(scores.shape)}"
            )
        return scores.flatten().to(x.device)
