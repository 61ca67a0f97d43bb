"""Calls of an oracle: counted, checked, split over ranks and into batches that fit memory."""

from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.distributed import all_gather_rows, rank, world_size
from discrete_lightning.nn import Float32State


class Evaluator(Float32State):
    """Scores one-hot sequences with an oracle and knows how many it has scored.

    One evaluation is one sequence through the oracle, with or without its gradient. All ranks call it with the same sequences;
    each scores its share and all get all the scores, so that a search goes the same way on any number of ranks.

    Args:
        oracle: any module that takes one-hot or relaxed sequences (batch, letters, length) and returns scores (batch,) or
            (batch, 1). Its parameters are frozen, and it is called in eval().
        batch: sequences scored at a time on each rank.

    Attributes:
        evaluations: sequences scored so far, over all ranks.
        components: scores (N, oracles) of each oracle in the last evaluation, of an oracle that has `components` and `combine`
            (WeightedSum); None for others.
    """

    evaluations: Tensor

    def __init__(self, oracle: nn.Module, batch: int = 1024) -> None:
        super().__init__()
        if batch < 1:
            raise ValueError(f"the oracle's batch must be at least 1, got {batch}")
        self.oracle, self.batch = oracle.requires_grad_(False), batch
        self.register_buffer("evaluations", torch.zeros((), dtype=torch.int64))
        self.components: Tensor | None = None

    @property
    def count(self) -> int:
        """Evaluations so far."""
        return int(self.evaluations)

    def score(self, sequences: Tensor) -> Tensor:
        """Scores (...) of sequences (..., length, letters), float32, without gradient."""
        return self._evaluate(sequences, gradient=False)[0]

    def score_and_gradient(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (...) and their gradients (..., length, letters); gradients are 0 for an oracle that has none."""
        scores, gradient = self._evaluate(sequences, gradient=True)
        assert gradient is not None
        return scores, gradient

    def forward(self, sequences: Tensor) -> Tensor:
        """Scores (...) that carry their gradient to `sequences` (..., length, letters)."""
        if not (torch.is_grad_enabled() and sequences.requires_grad):
            return self.score(sequences)
        return _Scores.apply(sequences, self)

    def _evaluate(self, sequences: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
        self.oracle.eval()  # a trainer calls train() on everything it holds
        rows = sequences.detach().flatten(0, -3) if sequences.ndim > 2 else sequences.detach().unsqueeze(0)
        own = rows.tensor_split(world_size())[rank()]
        parts = [self._call(part, gradient) for part in own.split(self.batch)] if len(own) else []
        # scores, scores of single oracles and gradients side by side: one exchange between the ranks
        several = len(getattr(self.oracle, "names", ())) if hasattr(self.oracle, "components") else 0
        width = 1 + several + (rows[0].numel() if gradient else 0)
        packed = all_gather_rows(torch.cat(parts) if parts else rows.new_zeros(0, width, dtype=torch.float32))
        self.evaluations += len(rows)
        score = packed[:, 0].contiguous()
        self._check(score, rows)
        self.components = packed[:, 1 : 1 + several] if several else None
        slope = packed[:, 1 + several :].reshape(sequences.shape) if gradient else None
        return score.view(sequences.shape[:-2]), slope

    def _call(self, rows: Tensor, gradient: bool) -> Tensor:
        """Scores, scores of single oracles, and gradients if asked for, side by side: float32 (len(rows), ...)."""
        dtypes = [parameter.dtype for parameter in self.oracle.parameters() if parameter.is_floating_point()]
        dtype = dtypes[0] if dtypes else torch.float32
        with torch.set_grad_enabled(gradient):
            leaf = rows.to(dtype).requires_grad_(gradient)
            parts = None
            if hasattr(self.oracle, "components"):
                parts = self.oracle.components(leaf.mT)  # type: ignore[operator]
            score = self._shaped(
                self.oracle(leaf.mT) if parts is None else self.oracle.combine(parts),  # type: ignore[operator]
                len(rows),
            )
            columns = [score.detach().float().unsqueeze(1)]
            if parts is not None:
                columns.append(parts.detach().float())
            if gradient:
                slope = torch.zeros_like(leaf)
                if score.requires_grad:
                    (slope,) = torch.autograd.grad(score.float().sum(), leaf)
                columns.append(slope.float().flatten(1))
        return torch.cat(columns, 1)

    def _shaped(self, scores: Any, count: int) -> Tensor:
        name = type(self.oracle).__name__
        if not isinstance(scores, Tensor):
            raise ValueError(
                f"the oracle {name} must return a tensor of one score a sequence, got {type(scores).__name__}"
            )
        if scores.shape == (count, 1):
            scores = scores.squeeze(1)
        if scores.shape != (count,):
            raise ValueError(
                f"the oracle {name} must return one score a sequence, ({count},) or ({count}, 1), for {count} sequences; it "
                f"returned shape {tuple(scores.shape)}. To use one of several outputs wrap it: OneOutput(oracle, index)"
            )
        return scores

    def _check(self, scores: Tensor, rows: Tensor) -> None:
        if not (bad := scores.isnan()).any():
            return
        tokens = rows[bad][0].argmax(-1).tolist()
        raise ValueError(
            f"the oracle {type(self.oracle).__name__} returned NaN for {int(bad.sum())} of {len(scores)} sequences, after "
            f"{self.count} evaluations; the first one has letters {tokens}"
        )


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sequences: Tensor, evaluator: Evaluator) -> Tensor:
        scores, slope = evaluator.score_and_gradient(sequences)
        ctx.save_for_backward(slope)
        ctx.dtype = sequences.dtype
        return scores

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (grad_outputs[0][..., None, None] * slope).to(ctx.dtype), None
