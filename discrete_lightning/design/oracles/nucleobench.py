"""An oracle of NucleoBench or GrAdaBeam: a function of strings that is minimised, often with a function of tensors beside it.

    score(x) = -model.inference_on_tensor(x),  or -model(strings) without gradient

All versions minimise (Shor et al. 2025, https://doi.org/10.1101/2025.06.20.660785; nucleobench 0.1.8 and 2.0.10, gradabeam
0.2.1: "better sequences are lower, according to convention").
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import DNA, Alphabet, alphabet
from discrete_lightning.design.oracles.black_box import BlackBox
from discrete_lightning.design.oracles.function import FunctionOracle
from discrete_lightning.layers.recorded import Recorded

_NEAR = 1e-3  # relative: a model may round differently in a batch of another size


class NucleoBenchOracle(Recorded, nn.Module):
    """A model of NucleoBench or GrAdaBeam, unchanged; its sign is turned, so that higher is better. Needs neither package.

    A model with `inference_on_tensor` has a gradient, the same that its `tism` uses. At the first call its values for one
    sequence, as a string and as a tensor, are compared, so that neither the order of the letters nor the sign can differ. A
    model without it, or any function of strings that is minimised, is called with strings and has no gradient. A
    DesignProblem refuses every goal but Maximize (see protocols.StatesDirection).

    Args:
        model: called with a list of strings it returns one number each, lower is better.
        letters: "DNA", "RNA", "protein", an Alphabet, or the letters in the order of the channels. None: the model's `vocab`
            (in alphabetical order if it is a set), or DNA if it has none.

    Attributes:
        channel_letters: the letters in the order of the channels, checked against the alphabet of the problem.

    Raises:
        ValueError: `letters` are not the model's `vocab`; or (when called) the values of strings and of tensors differ.
        TypeError: the model cannot be called.

    Example:
        >>> oracle = NucleoBenchOracle(lambda strings: [-string.count("G") for string in strings])
        >>> oracle(torch.nn.functional.one_hot(DNA.encode("GAGA"), 4).T[None].float())
        tensor([2.])
    """

    higher_score_is_better: ClassVar[bool] = True

    def __init__(self, model: Callable[[list[str]], Any], letters: str | Alphabet | None = None) -> None:
        super().__init__()
        if isinstance(model, type) or not callable(model):
            raise TypeError(f"NucleoBenchOracle takes an object or a function to call with strings, got {model!r}")
        self.alphabet = _letters_of(model, letters)
        self.channel_letters = self.alphabet.letters.replace("U", "T")
        self.strings = BlackBox(model, self.alphabet)
        on_tensor = getattr(model, "inference_on_tensor", None)
        self.tensors = None if on_tensor is None else FunctionOracle(on_tensor)
        self._compared = False

    def forward(self, x: Tensor) -> Tensor:
        """Scores (batch,) of sequences (batch, letters, length).

        Raises:
            ValueError: the model has no gradient and x is not one-hot, or its values of strings and of tensors differ.
        """
        if self.tensors is None:
            return -self.strings(x)
        values = self.tensors(x)
        if not self._compared and x.device.type == "cpu" and len(x):
            self._compare(x.detach()[:1], values.detach()[:1])
        return -values

    def _compare(self, x: Tensor, value: Tensor) -> None:
        """Compares the values of one sequence as a tensor and as a string."""
        if not bool(((x == 0) | (x == 1)).all()):
            return
        with torch.no_grad():
            expected = self.strings(x)
        self._compared = True
        if value.numel() != 1 or not torch.allclose(value.flatten().float(), expected, _NEAR, _NEAR):
            sequence = self.alphabet.decode(x[0].argmax(0))
            raise ValueError(
                f"NucleoBenchOracle: the model returns {value.tolist()} for the tensor of {sequence} and {expected.tolist()} "
                f"for the string: `vocab` is not the order of its channels (taken to be {self.alphabet.letters}), or one of "
                "the two is not what is minimised"
            )


def _letters_of(model: object, letters: str | Alphabet | None) -> Alphabet:
    vocab = getattr(model, "vocab", None)
    if not isinstance(vocab, Iterable):
        return DNA if letters is None else alphabet(letters)
    ordered = "".join(vocab if isinstance(vocab, str | list | tuple) else sorted(vocab))
    found = alphabet(ordered if letters is None else letters)
    same = found.letters == ordered if isinstance(vocab, str | list | tuple) else sorted(found.letters) == list(ordered)
    if not same:
        raise ValueError(f"NucleoBenchOracle: letters are {found.letters}, and the vocab of the model is {ordered}")
    return found
