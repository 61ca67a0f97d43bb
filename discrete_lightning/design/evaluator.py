"""Calls of an oracle: counted, checked, split over ranks and into batches that fit memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.design.alphabet import Alphabet
from discrete_lightning.design.goals import Goal, Maximize
from discrete_lightning.design.oracles import Composite
from discrete_lightning.design.oracles.composite import one_score_each
from discrete_lightning.distributed import all_gather_rows, rank, world_size
from discrete_lightning.layers.float32 import FixedDtype


class Evaluator(FixedDtype):
    """Scores one-hot sequences with an oracle and knows how many it has scored.

    One evaluation is one sequence through the oracle, with or without its gradient. All ranks call it with the same sequences;
    each scores its share and all get all the scores, so that a search goes the same way on any number of ranks.

    Args:
        oracle: any module that takes one-hot or relaxed sequences (batch, letters, length) and returns scores (batch,) or
            (batch, 1). Its parameters are frozen, it is called in eval(), and it keeps its dtype under `bf16-true`: scores
            that designs are ranked by are not rounded.
        batch: sequences scored at a time on each rank.
        goal: in which direction a Composite oracle's doubt makes a score worse; Maximize() if None.
        alphabet: in which sequences are named in errors; as numbers if None.

    Attributes:
        evaluations: sequences scored so far, over all ranks.
        components: columns (N, columns) of the last evaluation, of an oracle that is Composite; None for others.
    """

    evaluations: Tensor

    def __init__(
        self, oracle: nn.Module, batch: int = 1024, goal: Goal | None = None, alphabet: Alphabet | None = None
    ) -> None:
        super().__init__()
        if batch < 1:
            raise ValueError(f"the oracle's batch must be at least 1, got {batch}")
        self.oracle, self.batch, self.alphabet = oracle.requires_grad_(False), batch, alphabet
        self.goal = Maximize() if goal is None else goal
        self.register_buffer("evaluations", torch.zeros((), dtype=torch.int64))
        self.components: Tensor | None = None

    @property
    def count(self) -> int:
        """Evaluations so far."""
        return int(self.evaluations)

    @property
    def names(self) -> list[str]:
        """Of the columns of a Composite oracle; none of others."""
        return self.oracle.names if isinstance(self.oracle, Composite) else []

    @property
    def signs(self) -> list[float]:
        """Of the columns: +1 where the score rises with one, -1 where it falls, 0 for neither."""
        return self.oracle.signs if isinstance(self.oracle, Composite) else []

    def score(self, sequences: Tensor) -> Tensor:
        """Scores (...) of sequences (..., length, letters), float32, without gradient."""
        return self._evaluate(sequences, gradient=False)[0]

    def score_and_gradient(self, sequences: Tensor, needed: bool = False) -> tuple[Tensor, Tensor]:
        """Scores (...) and their gradients (..., length, letters).

        Args:
            sequences: (..., length, letters).
            needed: refuses an oracle without gradient, instead of giving gradients of 0.
        """
        scores, gradient = self._evaluate(sequences, gradient=True, needed=needed)
        assert gradient is not None
        return scores, gradient

    def forward(self, sequences: Tensor) -> Tensor:
        """Scores (...) that carry their gradient to `sequences` (..., length, letters).

        Raises:
            ValueError: the oracle has no gradient, and `sequences` need one.
        """
        if not (torch.is_grad_enabled() and sequences.requires_grad):
            return self.score(sequences)
        return _Scores.apply(sequences, self)

    def _evaluate(self, sequences: Tensor, gradient: bool, needed: bool = False) -> tuple[Tensor, Tensor | None]:
        self.oracle.eval()  # a trainer calls train() on everything it holds
        rows = sequences.detach().flatten(0, -3) if sequences.ndim > 2 else sequences.detach().unsqueeze(0)
        own = rows.tensor_split(world_size())[rank()]
        parts = [self._call(part, gradient, needed) for part in own.split(self.batch)] if len(own) else []
        # scores, columns and gradients side by side: one exchange between the ranks
        several = len(self.names)
        width = 1 + several + (rows[0].numel() if gradient else 0)
        packed = all_gather_rows(torch.cat(parts) if parts else rows.new_zeros(0, width, dtype=torch.float32))
        self.evaluations += len(rows)
        score = packed[:, 0].contiguous()
        self._check(score, rows)
        self.components = packed[:, 1 : 1 + several] if several else None
        slope = packed[:, 1 + several :].reshape(sequences.shape) if gradient else None
        return score.view(sequences.shape[:-2]), slope

    def _call(self, rows: Tensor, gradient: bool, needed: bool) -> Tensor:
        """Scores, columns, and gradients if asked for, side by side: float32 (len(rows), ...)."""
        with torch.set_grad_enabled(gradient), in_dtype_of(self.oracle) as dtype:
            leaf = rows.to(dtype).requires_grad_(gradient)
            score, parts = self._scores(leaf.mT)
            columns = [score.detach().float().unsqueeze(1)]
            if parts is not None:
                columns.append(parts.detach().float())
            if gradient:
                slope = torch.zeros_like(leaf)
                if score.requires_grad:
                    (slope,) = torch.autograd.grad(score.float().sum(), leaf)
                elif needed:
                    raise ValueError(
                        f"the oracle {type(self.oracle).__name__} has no gradient (its scores do not require one), and the "
                        "search follows it: take an estimator that needs none, GradientSearch(estimator=LeaveOneOut(4)), or "
                        "SurrogateSearch; or let the oracle be differentiable (no torch.no_grad(), detach() or argmax in it)"
                    )
                columns.append(slope.float().flatten(1))
        return torch.cat(columns, 1)

    def _scores(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores (batch,), and the columns (batch, columns) of a Composite oracle."""
        oracle, parts = self.oracle, None
        try:
            if isinstance(oracle, Composite):
                parts = oracle.components(x)
                scores: Any = self.goal.careful(*oracle.value_and_doubt(parts))
            else:
                scores = oracle(x)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            if self.count:  # it has taken such sequences before
                raise
            raise ValueError(
                f"the oracle {type(oracle).__name__} failed when it was first called, with {tuple(x.shape)} = (batch, letters, "
                f"length), {x.dtype}: {error}. An oracle takes one-hot sequences of this shape"
            ) from error
        return one_score_each(scores, oracle, len(x)), parts

    def _check(self, scores: Tensor, rows: Tensor) -> None:
        """A score that is NaN, or infinitely good, is no measurement; one that is infinitely bad only says what it says."""
        for name, bad in (("NaN", scores.isnan()), ("an infinitely good score", self.goal.loss(scores) == -torch.inf)):
            if bad.any():
                tokens = rows[bad][0].argmax(-1)
                sequence = tokens.tolist() if self.alphabet is None else self.alphabet.decode(tokens)
                raise ValueError(
                    f"the oracle {type(self.oracle).__name__} returned {name} for {int(bad.sum())} of {len(scores)} sequences, "
                    f"after {self.count} evaluations; the first one is {sequence}"
                )


@contextmanager
def in_dtype_of(module: nn.Module) -> Iterator[torch.dtype]:
    """The dtype of a module's parameters (float32 if it has none), also the default inside, which `bf16-true` has changed."""
    before = torch.get_default_dtype()
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    torch.set_default_dtype(dtype)
    try:
        yield dtype
    finally:
        torch.set_default_dtype(before)


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sequences: Tensor, evaluator: Evaluator) -> Tensor:
        scores, slope = evaluator.score_and_gradient(sequences, needed=True)
        ctx.save_for_backward(slope)
        ctx.dtype = sequences.dtype
        return scores

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (grad_outputs[0][..., None, None] * slope).to(ctx.dtype), None
