"""A design problem: an oracle, a goal, where to start and the rules to keep; and what a sequence is worth in it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.alphabet import DNA, Alphabet, alphabet
from discrete_lightning.constraints import Constraint, check_satisfiable
from discrete_lightning.constraints.feasibility import allowed_letters
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
        Unsatisfiable: no sequence keeps all constraints; names those at fault.
        ValueError: letters of the start are not in the alphabet, or a constraint does not fit.

    Example:
        >>> from discrete_lightning.design import FromNothing
        >>> from discrete_lightning.oracles import TFBind8
        >>> problem = DesignProblem(TFBind8(), FromNothing(8))
        >>> [round(float(score), 4) for score in problem.score(DNA.encode_all(["AGGTATCA", "AAAAAAAA"]))]
        [0.4911, 0.03]
        >>> problem.evaluator.count
        2
    """

    template: Tensor | None
    beginnings: Tensor | None  # where chains start, int64 (n, length)
    allowed: Tensor

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
        self.constraints = tuple(constraints)
        text = start.template(self.alphabet)
        beginnings = start.beginnings(self.alphabet)
        check_satisfiable(self.constraints, start.length, self.alphabet)
        template = None if text is None else self.alphabet.encode(text)
        self.register_buffer("template", template, persistent=False)
        tokens = self.alphabet.encode_all(beginnings) if beginnings else None
        self.register_buffer("beginnings", tokens, persistent=False)
        allowed = allowed_letters(self.constraints, start.length, self.alphabet)
        self.register_buffer("allowed", allowed, persistent=False)
        self.evaluator = Evaluator(oracle, batch, self.goal, self.alphabet)

    @property
    def length(self) -> int:
        """Of the designs."""
        return self.start.length

    @property
    def device(self) -> torch.device:
        """Where the search runs."""
        return self.allowed.device

    def one_hot(self, tokens: Tensor) -> Tensor:
        """float32 (..., length, letters) of indices (..., length)."""
        return torch.nn.functional.one_hot(tokens, len(self.alphabet)).to(torch.float32)

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
        total = torch.zeros(probabilities.shape[:-2], device=probabilities.device)
        for constraint in self.constraints:
            total = total + constraint.penalty(probabilities, self.alphabet)
        return total

    def feasible(self, tokens: Tensor) -> Tensor:
        """Which sequences (..., length) keep all constraints, bool (...)."""
        result = torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device)
        for constraint in self.constraints:
            result &= constraint.satisfied(tokens, self.alphabet)
        return result
