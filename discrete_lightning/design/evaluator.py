"""Calls of an oracle: counted, checked, split over ranks and into batches that fit into memory."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.answer_journal import Answer, AnswerJournal
from discrete_lightning.design.goals import Goal, Maximize
from discrete_lightning.design.oracle_context import frozen, in_dtype_of
from discrete_lightning.design.oracles import Composite, WeightedSum
from discrete_lightning.design.oracles.composite import one_score_each
from discrete_lightning.design.oracles.function import Oracle, as_module, name_of
from discrete_lightning.distributed import all_gather_rows, rank, world_size
from discrete_lightning.functional._arguments import check_at_least
from discrete_lightning.layers.float32 import FixedDtype


@dataclass(frozen=True)
class Evaluation:
    """What the oracle returned for some sequences (..., length, letters).

    Attributes:
        scores: float32 (...).
        components: the columns of a Composite oracle, float32 (..., columns); None for other oracles.
        gradient: d score / d sequence, float32 (..., length, letters), or those of each objective of a WeightedSum,
            (..., objectives, length, letters); None where it was not computed.
    """

    scores: Tensor
    components: Tensor | None = None
    gradient: Tensor | None = None

    def flatten(self) -> "Evaluation":
        """The scores and columns, detached, with one batch dimension: scores (N,), components (N, columns)."""
        components = None if self.components is None else self.components.detach().flatten(0, -2)
        return Evaluation(self.scores.detach().flatten(), components)


class Evaluator(FixedDtype):
    """Scores one-hot sequences with an oracle and counts the sequences that were scored.

    One evaluation is one sequence through the oracle, with or without its gradient. All ranks call the evaluator with the same
    sequences. Each rank scores its share and receives all scores, so that a search takes the same steps on any number of ranks.

    Args:
        oracle: a module or a function that takes one-hot or relaxed sequences (batch, letters, length) and returns scores
            (batch,) or (batch, 1). While it is called it is in eval() and its parameters need no gradient; after the call both
            are as before. It keeps its dtype under `bf16-true`, so that the scores that rank the designs are not rounded.
        batch: the number of sequences that each rank scores at a time.
        goal: the direction in which the uncertainty of a Composite oracle makes a score worse; Maximize() if None.
        alphabet: used to write sequences in error messages; they are written as numbers if None.

    Attributes:
        evaluations: the number of sequences scored so far, over all ranks.
        journal: where the answers of an oracle without gradient are written down and recalled; None for nowhere.
        differentiable: whether the oracle is known to have a gradient.
    """

    evaluations: Tensor
    journal: AnswerJournal | None = None

    def __init__(
        self, oracle: Oracle, batch: int = 1024, goal: Goal | None = None, alphabet: Alphabet | None = None
    ) -> None:
        super().__init__()
        check_at_least(1, batch=batch)
        self.oracle, self.batch, self.alphabet = as_module(oracle), batch, alphabet
        self.goal = Maximize() if goal is None else goal
        self.register_buffer("evaluations", torch.zeros((), dtype=torch.int64))
        self.differentiable = False

    def reset_parameters(self) -> None:
        """No evaluations, as at the start; after `to_empty` of an evaluator that was built on the meta device."""
        self.evaluations.zero_()

    @property
    def count(self) -> int:
        """The number of evaluations so far."""
        return int(self.evaluations)

    @property
    def names(self) -> list[str]:
        """The names of a Composite oracle's columns; empty for other oracles."""
        return self.oracle.names if isinstance(self.oracle, Composite) else []

    @property
    def signs(self) -> list[float]:
        """For each column: +1 if the score rises with it, -1 if the score falls with it, 0 if neither."""
        return self.oracle.signs if isinstance(self.oracle, Composite) else []

    def score(self, sequences: Tensor) -> Tensor:
        """Scores (...) of sequences (..., length, letters), float32, without gradient."""
        return self.evaluate(sequences).scores

    def evaluate(
        self, sequences: Tensor, gradient: bool = False, require_differentiable: bool = False, each: bool = False
    ) -> Evaluation:
        """Scores, columns and, if requested, gradients of sequences.

        Args:
            sequences: (..., length, letters).
            gradient: whether to compute d score / d sequence.
            require_differentiable: raises an error for an oracle without gradient, instead of returning gradients of 0.
            each: of a WeightedSum: the gradient of each of its objectives instead (see WeightedSum.objectives).

        Raises:
            ValueError: the oracle has no gradient and one is required; it fails at its first call; its scores have a wrong
                shape, are NaN or infinitely good.
            RuntimeError: it failed on another rank.
        """
        rows = sequences.detach().flatten(0, -3) if sequences.ndim > 2 else sequences.detach().unsqueeze(0)
        # scores, columns and gradients side by side: one exchange between the ranks
        columns, slopes = len(self.names), self._objectives() if each else 1
        packed = rows.new_zeros(
            len(rows), 1 + columns + (slopes * math.prod(rows.shape[1:]) if gradient else 0), dtype=torch.float32
        )
        asked = self._recall(rows, packed[:, : 1 + columns], gradient)
        if len(asked):
            packed[asked] = self._ask(rows[asked], asked, packed.shape[1], gradient, require_differentiable, each)
        self.evaluations += len(rows)
        scores = packed[:, 0].contiguous()
        self._check(scores, rows)
        shape = sequences.shape[:-2]
        of = (*shape, slopes, *sequences.shape[-2:]) if each else sequences.shape
        return Evaluation(
            scores.view(shape),
            packed[:, 1 : 1 + columns].reshape(*shape, columns) if columns else None,
            packed[:, 1 + columns :].reshape(of) if gradient else None,
        )

    def _recall(self, rows: Tensor, values: Tensor, gradient: bool) -> Tensor:
        """Fills in the scores and columns that the journal holds; the indices of the other rows, which are to be asked."""
        asked = list(range(len(rows)))
        if self.journal is not None and self.journal.recalled and (letters := self._letters(rows)) is not None:
            found = [self.journal.recall(each, gradient) for each in letters]
            asked = [row for row, answer in enumerate(found) if answer is None]
            for row, answer in enumerate(found):
                if answer is not None:
                    values[row] = values.new_tensor(answer)
        return torch.tensor(asked, dtype=torch.int64, device=rows.device)

    def _objectives(self) -> int:
        assert isinstance(self.oracle, WeightedSum)
        return len(self.oracle.oracles)

    def _ask(
        self, rows: Tensor, numbers: Tensor, width: int, gradient: bool, require_differentiable: bool, each: bool
    ) -> Tensor:
        """What the oracle returns for rows (N, length, letters), (N, width) on all ranks; `numbers` are theirs in the batch."""
        own, places = rows.tensor_split(world_size())[rank()], numbers.tensor_split(world_size())[rank()]
        found, failure = rows.new_zeros(len(own), width, dtype=torch.float32), None
        parts = zip(own.split(self.batch), found.split(self.batch), places.split(self.batch), strict=True)
        try:
            with frozen(self.oracle):  # a trainer calls train() on all modules that it holds
                for part, result, place in parts:
                    if len(part):
                        result.copy_(self._call(part, gradient, require_differentiable, each))
                        self._write_down(part, result[:, : 1 + len(self.names)], place, gradient)
        except Exception as error:
            if world_size() == 1:
                raise
            failure = error  # raised after the exchange: other ranks would wait for this one until a timeout
        return self._exchange(found, failure, rows)

    def _write_down(self, rows: Tensor, values: Tensor, places: Tensor, gradient: bool) -> None:
        """Writes answers to the journal. Those of an oracle with a gradient are cheap to have again, and large."""
        if self.journal is None or self.differentiable or (letters := self._letters(rows)) is None:
            return
        valid = (~torch.stack([bad for _, bad in self._invalid(values[:, 0])]).any(0)).tolist()
        numbers = (self.evaluations + places).tolist()
        found = zip(numbers, letters, values.tolist(), valid, strict=True)
        self.journal.write(Answer(at, text, gradient, tuple(row)) for at, text, row, good in found if good)

    def _letters(self, rows: Tensor) -> list[str] | None:
        """The sequences as text; None where they are relaxed, or have no alphabet."""
        if self.alphabet is None or not bool((((rows == 0) | (rows == 1)).all(-1) & (rows.sum(-1) == 1)).all()):
            return None
        return [self.alphabet.decode(tokens) for tokens in rows.argmax(-1)]

    def _exchange(self, found: Tensor, failure: Exception | None, rows: Tensor) -> Tensor:
        """The rows of all ranks. If the oracle failed on a rank, all ranks raise an error."""
        if world_size() == 1:
            return found
        state = found.new_tensor([[float(failure is not None)]])
        marked = torch.cat([nn.functional.pad(state, (0, found.shape[1] - 1)), found])  # a first row says how it went
        parts = all_gather_rows(marked).split([1 + len(part) for part in rows.tensor_split(world_size())])
        failed = [number for number, part in enumerate(parts) if part[0, 0] > 0]
        if failure is not None:
            raise failure
        if failed:
            raise RuntimeError(
                f"the oracle {name_of(self.oracle)} failed on rank {', '.join(map(str, failed))} of {world_size()}, "
                "whose message says why"
            )
        return torch.cat([part[1:] for part in parts])

    def forward(self, sequences: Tensor) -> Evaluation:
        """Like `evaluate`, but the scores can be differentiated with respect to `sequences` (..., length, letters).

        Raises:
            ValueError: the oracle has no gradient, and `sequences` require one.
        """
        if not (torch.is_grad_enabled() and sequences.requires_grad):
            return self.evaluate(sequences)
        return Evaluation(*_DifferentiableScores.apply(sequences, self))

    def _call(self, rows: Tensor, gradient: bool, require_differentiable: bool, each: bool) -> Tensor:
        """Scores, columns and, if requested, gradients side by side: float32 (len(rows), ...)."""
        with torch.set_grad_enabled(gradient), in_dtype_of(self.oracle) as dtype:
            leaf = rows.to(dtype).requires_grad_(gradient)
            score, components = self._scores(leaf.mT)
            columns = [score.detach().float().unsqueeze(1)]
            if components is not None:
                columns.append(components.detach().float())
            if gradient:
                wanted = [score]
                if each and components is not None and isinstance(self.oracle, WeightedSum):
                    wanted = list(self.oracle.objectives(components, self.goal.sign).unbind(1))
                slope = torch.zeros_like(leaf).repeat(1, len(wanted), 1)
                self.differentiable |= score.requires_grad
                if score.requires_grad:
                    keep = [number + 1 < len(wanted) for number in range(len(wanted))]
                    found = [
                        torch.autograd.grad(one.float().sum(), leaf, retain_graph=more)[0]
                        for one, more in zip(wanted, keep, strict=True)
                    ]
                    slope = torch.cat(found, 1)
                elif require_differentiable:
                    raise ValueError(
                        f"the oracle {name_of(self.oracle)} has no gradient (its scores do not require one), and the "
                        "search needs it. Use an estimator that needs no gradient, GradientSearch(estimator=LeaveOneOut(4)), "
                        "or SurrogateSearch; or make the oracle differentiable (no torch.no_grad(), detach() or argmax in it)"
                    )
                columns.append(slope.float().flatten(1))
        return torch.cat(columns, 1)

    def _scores(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores (batch,), and the columns (batch, columns) of a Composite oracle."""
        oracle, components = self.oracle, None
        try:
            if isinstance(oracle, Composite):
                components = oracle.components(x)
                scores: Any = self.goal.pessimistic(*oracle.value_and_uncertainty(components))
            else:
                scores = oracle(x)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError) as error:
            if self.count:  # the oracle has already scored sequences of this shape
                raise
            raise ValueError(
                f"the oracle {name_of(oracle)} failed when it was first called, with {tuple(x.shape)} = (batch, letters, "
                f"length), {x.dtype}: {error}. An oracle takes one-hot sequences of this shape, and "
                "BlackBox makes one of a function of strings"
            ) from error
        return one_score_each(scores, oracle, len(x)), components

    def _check(self, scores: Tensor, rows: Tensor) -> None:
        """Refuses NaN and infinitely good scores. An infinitely bad score is valid: it marks an infeasible sequence."""
        for name, bad in self._invalid(scores):
            if bad.any():
                tokens = rows[bad][0].argmax(-1)
                sequence = tokens.tolist() if self.alphabet is None else self.alphabet.decode(tokens)
                raise ValueError(
                    f"the oracle {name_of(self.oracle)} returned {name} for {int(bad.sum())} of {len(scores)} sequences, "
                    f"after {self.count} evaluations; the first one is {sequence}"
                )

    def _invalid(self, scores: Tensor) -> list[tuple[str, Tensor]]:
        return [("NaN", scores.isnan()), ("an infinitely good score", self.goal.loss(scores) == -torch.inf)]


class _DifferentiableScores(torch.autograd.Function):
    """Scores whose gradient was computed together with them, since the oracle's graph is not kept."""

    @staticmethod
    def forward(ctx: Any, sequences: Tensor, evaluator: Evaluator) -> tuple[Tensor, Tensor | None]:
        evaluation = evaluator.evaluate(sequences, gradient=True, require_differentiable=True)
        ctx.save_for_backward(evaluation.gradient)
        ctx.dtype = sequences.dtype
        if evaluation.components is not None:
            ctx.mark_non_differentiable(evaluation.components)
        return evaluation.scores, evaluation.components

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (grad_outputs[0][..., None, None] * slope).to(ctx.dtype), None
