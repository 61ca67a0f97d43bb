"""A design problem of several oracles seen from one direction: the same oracle and rules, another score."""

from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning.design.evaluator import Evaluation, Evaluator, ScoreOf
from discrete_lightning.design.problem import DesignProblem
from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device

Record = Callable[[Tensor, Evaluation], None]


class CallsSpent(RuntimeError):  # noqa: N818: the end of a budget is no error
    """A search wanted more evaluations than its direction has."""


class DirectedEvaluator(Evaluator):
    """Asks the evaluator of the whole problem for the score in one direction, and passes on all exact sequences.

    Args:
        whole: of the problem.
        direction: the score of the oracle's columns.
        calls: the number of evaluations that it may ask for.
        record: is given one-hot sequences as indices (N, length), and their evaluation with the direction's scores.
    """

    def __init__(self, whole: Evaluator, direction: ScoreOf, calls: int, record: Record) -> None:
        super().__init__(_Columns(whole), whole.batch, whole.goal, whole.alphabet)
        self.evaluations = torch.zeros((), dtype=torch.int64, device=whole.evaluations.device)
        self._whole, self._direction, self._calls, self._record = [whole], direction, calls, record

    @property
    def names(self) -> list[str]:
        return self._whole[0].names

    @property
    def signs(self) -> list[float]:
        return self._whole[0].signs

    @property
    def left(self) -> int:
        """The number of evaluations left."""
        return self._calls - self.count

    def evaluate(
        self,
        sequences: Tensor,
        gradient: bool = False,
        require_differentiable: bool = False,
        score_of: ScoreOf | None = None,
    ) -> Evaluation:
        """As `Evaluator.evaluate`.

        Raises:
            CallsSpent: there are more sequences than evaluations left; none is made.
        """
        rows = sequences.detach().flatten(0, -3) if sequences.ndim > 2 else sequences.detach().unsqueeze(0)
        if len(rows) > self.left:
            raise CallsSpent
        found = self._whole[0].evaluate(sequences, gradient, require_differentiable, self._direction)
        self.differentiable = self._whole[0].differentiable
        self.evaluations += len(rows)
        exact = (((rows == 0) | (rows == 1)).all(-1) & (rows.sum(-1) == 1)).all(-1)
        if bool(exact.any()):
            flat = found.flatten()
            assert flat.components is not None
            self._record(rows[exact].argmax(-1), Evaluation(flat.scores[exact], flat.components[exact]))
        return found


class _Columns(torch.nn.Module):
    """Stands for the oracle where a search asks what it is. It is never called, and holds no second copy of the weights."""

    def __init__(self, whole: Evaluator) -> None:
        super().__init__()
        self.names = whole.names


class DirectedProblem(DesignProblem):
    """The problem in one direction, with sequences from which to start.

    Args:
        whole: its oracle is a WeightedSum, its goal Maximize or Minimize.
        direction: the score of the oracle's columns.
        calls: the number of evaluations that it may ask for.
        record: see DirectedEvaluator.
        known: int64 (n, length), sequences from which the chains start, or None for those of the problem.
    """

    def __init__(
        self, whole: DesignProblem, direction: ScoreOf, calls: int, record: Record, known: Tensor | None = None
    ) -> None:
        ConstantBuffers.__init__(self)
        self.alphabet, self.start, self.goal, self.constraints = whole.alphabet, whole.start, whole.goal, whole.constraints
        with real_device():
            self.register_constant("template", whole.template)
            self.register_constant("initial_sequences", whole.initial_sequences if known is None else known)
            self.register_constant("feasible_example", whole.feasible_example)
        self.rules = whole.rules
        self.evaluator = DirectedEvaluator(whole.evaluator, direction, calls, record)

