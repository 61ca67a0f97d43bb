"""A design problem: an oracle, a goal, a start and constraints; and the total of a sequence, which a search minimises."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import DNA, Alphabet, alphabet
from discrete_lightning.design.constraints import Constraint, ConstraintSet, check_satisfiable
from discrete_lightning.design.constraints.constraint_set import require_constraints
from discrete_lightning.design.evaluator import Evaluation, Evaluator
from discrete_lightning.design.goals import Goal, Maximize
from discrete_lightning.design.oracles.function import Oracle, as_module
from discrete_lightning.design.oracles.one_output import OneOutput, Output
from discrete_lightning.design.oracles.weighted_sum import WeightedSum
from discrete_lightning.design.start import Start
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.protocols import ReadsChannelLetters, StatesDirection


class DesignProblem(ConstantBuffers):
    """total(sequence) = goal.loss(score) + edit_weight * edits, over the sequences that satisfy all constraints.

    Args:
        oracle: module or function of one-hot sequences (batch, letters, length) to scores (batch,) or (batch, 1).
        start: FromNothing(length), FromSequences(list) or Edit(sequence).
        letters: "DNA", "RNA", "protein", an Alphabet, or its letters in the order of the oracle's channels.
        goal: Maximize(), Minimize() or Target(value).
        constraints: rules that every design satisfies.
        batch: the number of sequences that the oracle scores at a time.
        output: which output of the oracle is the score, if it returns several: see OneOutput. None: it returns one.

    Attributes:
        template: the sequence to edit, int64 (length,), or None.
        initial_sequences: the sequences from which the chains start, int64 (n, length), or None for random ones.
        feasible_example: a sequence that satisfies all constraints, int64 (length,).
        edit_distance: counts the edits if they may be insertions and deletions; None if they are substitutions.

    Raises:
        Unsatisfiable: no sequence satisfies all constraints, or none was found; names the constraints in conflict.
        ValueError: letters of the start are not in the alphabet, a constraint does not fit, or the oracle's `channel_letters`
            are not the alphabet (see protocols.ReadsChannelLetters), or it states another direction than the goal (see
            protocols.StatesDirection).
        TypeError: an entry of `constraints` is not a Constraint, or the oracle is neither a module nor a function.

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
    initial_sequences: Tensor | None
    feasible_example: Tensor

    def __init__(
        self,
        oracle: Oracle,
        start: Start,
        letters: str | Alphabet = DNA,
        goal: Goal | None = None,
        constraints: Sequence[Constraint] = (),
        batch: int = 1024,
        output: Output | None = None,
    ) -> None:
        super().__init__()
        self.alphabet, self.start = alphabet(letters), start
        self.goal = Maximize() if goal is None else goal
        text = start.template(self.alphabet)
        require_constraints(constraints)
        self.constraints = (*start.constraints(), *(constraint.bind_template(text) for constraint in constraints))
        with real_device():
            initial = start.initial_sequences(self.alphabet)
            tokens = self.alphabet.encode_all(initial) if initial else None
            self.register_constant("template", None if text is None else self.alphabet.encode(text))
            self.register_constant("initial_sequences", tokens)
            example = check_satisfiable(self.constraints, start.length, self.alphabet, tokens)
            self.register_constant("feasible_example", example)
        self.edit_distance = start.edit_distance(self.alphabet)
        self.rules = ConstraintSet(self.constraints, start.length, self.alphabet)
        module = as_module(oracle) if output is None else OneOutput(oracle, output)
        _check_channels(module, self.alphabet)
        _check_direction(module, self.goal)
        self.evaluator = Evaluator(module, batch, self.goal, self.alphabet)

    @property
    def length(self) -> int:
        """The length of the designs."""
        return self.start.length

    @property
    def device(self) -> torch.device:
        """The device on which the search runs."""
        return self.allowed.device

    @property
    def allowed(self) -> Tensor:
        """The letters that the constraints allow at each position, bool (length, letters)."""
        return self.rules.allowed

    def one_hot(self, tokens: Tensor) -> Tensor:
        """float32 (..., length, letters) of indices (..., length)."""
        return self.rules.one_hot(tokens)

    def evaluate(self, tokens: Tensor) -> Evaluation:
        """The oracle's scores (N,) and columns (N, columns) of indices (N, length); each sequence is one evaluation."""
        return self.evaluator.evaluate(self.one_hot(tokens))

    def score(self, tokens: Tensor) -> Tensor:
        """The oracle's scores (N,) of indices (N, length); each sequence is one evaluation."""
        return self.evaluate(tokens).scores

    def edits(self, tokens: Tensor) -> Tensor:
        """The number of edits (...) that turn the template into sequences (..., length); 0 without a template."""
        if self.template is None:
            return torch.zeros(tokens.shape[:-1], dtype=torch.int64, device=tokens.device)
        if self.edit_distance is not None:
            found: Tensor = self.edit_distance(tokens)
            return found
        return (tokens != self.template).sum(-1)

    def edits_of_substitutions(self, tokens: Tensor) -> Tensor:
        """The number of edits after each single substitution, int64 (N, length, letters), of sequences (N, length)."""
        shape = (*tokens.shape, len(self.alphabet))
        if self.template is None:
            return torch.zeros(shape, dtype=torch.int64, device=tokens.device)
        if self.edit_distance is not None:
            return self.edit_distance.substitutions(tokens, len(self.alphabet))
        differs = (tokens != self.template).long()
        others = (differs.sum(-1, keepdim=True) - differs).unsqueeze(-1)
        after = torch.ones(shape, dtype=torch.int64, device=tokens.device)
        return others + after.scatter(-1, self.template.expand_as(tokens).unsqueeze(-1), 0)

    def relaxed_edits(self, samples: Tensor) -> Tensor:
        """The number of edits (...) of samples (..., length, letters), with gradient; of a relaxed sample its expectation.

        With insertions and deletions it is the number of edits of the most probable letters, extended linearly by the exact
        change of every single substitution.
        """
        if self.template is None:
            return samples.new_zeros(samples.shape[:-2])
        if self.edit_distance is None:
            return self.length - (samples * self.one_hot(self.template)).sum((-2, -1))
        tokens = samples.detach().argmax(-1).flatten(0, -2)
        now = self.edits(tokens)
        change = (self.edits_of_substitutions(tokens) - now.view(-1, 1, 1)).to(samples.dtype)
        moved = samples.flatten(0, -3) - self.one_hot(tokens).to(samples.dtype)
        return (now + (moved * change).sum((-2, -1))).view(samples.shape[:-2])

    def total(self, scores: Tensor, tokens: Tensor) -> Tensor:
        """What the search minimises, (...): goal.loss(scores) + edit_weight * edits. The oracle is not called."""
        return self.goal.loss(scores) + self.cost_of(self.edits(tokens))

    def cost_of(self, edits: Tensor) -> Tensor:
        """edit_weight * edits of numbers of edits, float32; a product of integers would be of torch's default dtype."""
        return self.start.edit_weight * edits.to(torch.float32)

    def penalty(self, probabilities: Tensor) -> Tensor:
        """Sum of the constraints' penalties (...) of letter probabilities (..., length, letters)."""
        return self.rules.penalty(probabilities)

    def feasible(self, tokens: Tensor) -> Tensor:
        """Which sequences (..., length) satisfy all constraints, bool (...)."""
        return self.rules.satisfied(tokens)


def _check_channels(oracle: nn.Module, letters: Alphabet) -> None:
    """Refuses an oracle if it, or a module in it, reads its channels as other letters than those of the alphabet."""
    for part in oracle.modules():
        if isinstance(part, ReadsChannelLetters) and part.channel_letters != letters.letters.replace("U", "T"):
            raise ValueError(
                f"{type(part).__name__} reads the letters {part.channel_letters}, in this order, and the alphabet is "
                f"{letters.letters}: give {part.channel_letters} as the alphabet"
            )


def _check_direction(oracle: nn.Module, goal: Goal, sign: float = 1.0) -> None:
    """Refuses a goal of another direction than that of the oracle, or of a module in it; a negative weight turns it.

    Args:
        oracle: a part of the problem's oracle.
        goal: of the problem.
        sign: +1 if the problem's score rises with the part's score, -1 if it falls.
    """
    if isinstance(oracle, StatesDirection) and goal.sign * sign != (1.0 if oracle.higher_score_is_better else -1.0):
        better = "higher" if oracle.higher_score_is_better else "lower"
        wanted = "Maximize()" if oracle.higher_score_is_better == (sign > 0) else "Minimize()"
        weighted = "" if sign > 0 else ", its weight is negative"
        raise ValueError(
            f"a {better} score of {type(oracle).__name__} is better, whatever its model returns{weighted}, and the goal is "
            f"{goal}: take {wanted}"
        )
    if isinstance(oracle, WeightedSum):
        for part, weight in zip(oracle.oracles, oracle.weights.tolist(), strict=True):
            _check_direction(part, goal, sign if weight >= 0 else -sign)
        return
    for part in oracle.children():
        _check_direction(part, goal, sign)
