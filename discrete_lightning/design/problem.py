"""A design problem: an oracle, a goal, where to start and the rules to keep; and what a sequence is worth in it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import DNA, Alphabet, alphabet
from discrete_lightning.design.constraints import Constraint, ConstraintSet, check_satisfiable
from discrete_lightning.design.constraints.constraint_set import require_constraints
from discrete_lightning.design.evaluator import Evaluator
from discrete_lightning.design.goals import Goal, Maximize
from discrete_lightning.design.start import Start


class DesignProblem(nn.Module):
    """total(sequence) = goal.loss(score) + edit_weight * edits, over the sequences that keep every constraint.

    Args:
        oracle: module of one-hot sequences (batch, letters, length) to scores (batch,).
        start: FromNothing(length), FromSequences(list) or Edit(sequence).
        letters: "DNA", "RNA", "protein", an Alphabet, or its letters in the oracle's order.
        goal: Maximize(), Minimize() or Target(value).
        constraints: rules that every design keeps.
        batch: sequences that the oracle scores at a time.

    Raises:
        Unsatisfiable: no sequence keeps all constraints, or none is found; names those at fault.
        ValueError: letters of the start are not in the alphabet, a constraint does not fit, or the oracle says that it reads
            other letters (its attribute `letters`).
        TypeError: something is no constraint.

    Example:
        >>> from discrete_lightning.design import FromNothing
        >>> from discrete_lightning.design.oracles import TFBind8
        >>> problem = DesignProblem(TFBind8(), FromNothing(8))
        >>> [round(float(score), 4) for score in problem.score(DNA.encode_all(["AGGTATCA", "AAAAAAAA"]))]
        [0.4911, 0.03]
        >>> problem.evaluator.count
        2
    """

    template: Tensor | None
    beginnings: Tensor | None  # where chains start, int64 (n, length)
    known: Tensor  # a sequence that keeps all constraints, int64 (length,)

    def __init__(
        self,
        oracle: nn.Module,
        start: Start,
        letters: str | Alphabet = DNA,
        goal: Goal | None = None,
        constraints: Sequence[Constraint] = (),
        batch: int = 1024,
    ) -> None:
        super().__init__()
        self.alphabet, self.start = alphabet(letters), start
        self.goal = Maximize() if goal is None else goal
        text = start.template(self.alphabet)
        beginnings = start.beginnings(self.alphabet)
        template = None if text is None else self.alphabet.encode(text)
        tokens = self.alphabet.encode_all(beginnings) if beginnings else None
        require_constraints(constraints)
        self.constraints = (*start.constraints(), *(constraint.for_template(text) for constraint in constraints))
        known = check_satisfiable(self.constraints, start.length, self.alphabet, tokens)
        self.rules = ConstraintSet(self.constraints, start.length, self.alphabet)
        self.register_buffer("template", template, persistent=False)
        self.register_buffer("beginnings", tokens, persistent=False)
        self.register_buffer("known", known, persistent=False)
        _check_order(oracle, self.alphabet)
        self.evaluator = Evaluator(oracle, batch, self.goal, self.alphabet)

    @property
    def length(self) -> int:
        """Of the designs."""
        return self.start.length

    @property
    def device(self) -> torch.device:
        """Where the search runs."""
        return self.allowed.device

    @property
    def allowed(self) -> Tensor:
        """Letters that the constraints allow by position alone, bool (length, letters)."""
        return self.rules.allowed

    def one_hot(self, tokens: Tensor) -> Tensor:
        """float32 (..., length, letters) of indices (..., length)."""
        return self.rules.one_hot(tokens)

    def score(self, tokens: Tensor) -> Tensor:
        """The oracle's scores (N,) of indices (N, length); each is one evaluation."""
        return self.evaluator.score(self.one_hot(tokens))

    def edits(self, tokens: Tensor) -> Tensor:
        """Number of letters (...) that differ from the template; 0 without one."""
        if self.template is None:
            return torch.zeros(tokens.shape[:-1], dtype=torch.int64, device=tokens.device)
        return (tokens != self.template).sum(-1)

    def total(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """What is minimised, (...): goal.loss(scores) + edit_weight * edits; no evaluation."""
        return self.goal.loss(scores) + self.start.edit_weight * self.edits(tokens)

    def penalty(self, probabilities: Tensor) -> Tensor:
        """Sum of the constraints' penalties (...) of letter probabilities (..., length, letters)."""
        return self.rules.penalty(probabilities)

    def feasible(self, tokens: Tensor) -> Tensor:
        """Which sequences (..., length) keep all constraints, bool (...)."""
        return self.rules.satisfied(tokens)


def _check_order(oracle: nn.Module, letters: Alphabet) -> None:
    """Refuses an oracle, or a part of one, that says which `letters` its channels are and gets others."""
    for part in oracle.modules():
        order = getattr(part, "letters", None)
        if isinstance(order, str) and order != letters.letters.replace("U", "T"):
            raise ValueError(
                f"{type(part).__name__} reads the letters {order}, in this order, and the alphabet is {letters.letters}: "
                f"give {order} as the alphabet"
            )
