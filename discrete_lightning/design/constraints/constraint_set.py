"""All constraints of a design problem together, for sequences of one length and alphabet."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.constraints.base import Constraint
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device


class ConstraintSet(ConstantBuffers):
    """Constraints that must all be satisfied. It is a module, so that its tensors move with the model.

    Args:
        constraints: the rules.
        length: of the sequences.
        alphabet: of the sequences.

    Attributes:
        allowed: the letters that all rules allow at each position, bool (length, letters).

    Raises:
        TypeError: an entry of the list is not a Constraint.
        ValueError: a constraint cannot be applied to this length or alphabet.

    Example:
        >>> from discrete_lightning.design.alphabet import DNA
        >>> from discrete_lightning.design.constraints import GCContent, MaxHomopolymer
        >>> rules = ConstraintSet([GCContent(0.5, 1.0), MaxHomopolymer(2)], 4, DNA)
        >>> rules.satisfied(DNA.encode_all(["GGCA", "GGGA", "ATGA"]))
        tensor([ True, False, False])
    """

    allowed: Tensor

    def __init__(self, constraints: Sequence[Constraint], length: int, alphabet: Alphabet) -> None:
        super().__init__()
        require_constraints(constraints)
        self.constraints, self.length, self.alphabet = tuple(constraints), length, alphabet
        with real_device():
            allowed = torch.ones(length, len(alphabet), dtype=torch.bool)
            for constraint in self.constraints:
                constraint.validate(length, alphabet)
                if (own := constraint.allowed(length, alphabet)) is not None:
                    allowed &= own
        self.register_constant("allowed", allowed)

    def one_hot(self, tokens: Tensor) -> Tensor:
        """float32 (..., length, letters) of indices (..., length)."""
        return torch.nn.functional.one_hot(tokens, len(self.alphabet)).to(torch.float32)

    def penalty(self, probabilities: Tensor) -> Tensor:
        """Sum of the penalties (...) of letter probabilities (..., length, letters)."""
        total = torch.zeros(probabilities.shape[:-2], dtype=torch.float32, device=probabilities.device)
        for constraint in self.constraints:
            total = total + constraint.penalty(probabilities, self.alphabet)
        return total

    def satisfied(self, tokens: Tensor) -> Tensor:
        """Which sequences (..., length) satisfy all rules, bool (...)."""
        result = torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
        for constraint in self.constraints:
            result &= constraint.satisfied(tokens, self.alphabet)
        return result


def require_constraints(constraints: Sequence[Constraint]) -> None:
    """Raises TypeError if an entry is not a Constraint, for example the name of a class."""
    listed = isinstance(constraints, Iterable) and not isinstance(constraints, str)
    for constraint in constraints if listed else [constraints]:
        if not listed or not isinstance(constraint, Constraint):
            raise TypeError(
                f"constraints are a list of Constraint objects such as GCContent(0.25, 0.65), got {constraint!r}. In a config "
                "each is written {class_path: GCContent, init_args: {low: 0.25, high: 0.65}}"
            )
