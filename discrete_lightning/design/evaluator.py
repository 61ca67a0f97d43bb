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
        self.differentiable = True  # until the oracle shows that it is not
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
        scores, gradients = [], []
        self._parts: list[Tensor] = []
        for part in own.split(self.batch):
            score, slope = self._call(part, gradient)
            scores.append(score)
            gradients.append(slope)
        score = torch.cat(scores) if scores else rows.new_zeros(0, dtype=torch.float32)
        score = all_gather_rows(score)
        if hasattr(self.oracle, "components"):
            empty = rows.new_zeros(0, len(self.oracle.names))  # type: ignore[arg-type]
            self.components = all_gather_rows(torch.cat(self._parts) if self._parts else empty)
        self.evaluations += len(rows)
        self._check(score, rows)
        if not gradient:
            return score.view(sequences.shape[:-2]), None
        slope = torch.cat(gradients) if gradients else own.float()  # type: ignore[arg-type]
        return score.view(sequences.shape[:-2]), all_gather_rows(slope).view(sequences.shape)

    def _call(self, rows: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
        dtypes = [parameter.dtype for parameter in self.oracle.parameters() if parameter.is_floating_point()]
        dtype = dtypes[0] if dtypes else torch.float32
        if not len(rows):
            return rows.new_zeros(0, dtype=torch.float32), rows.float() if gradient else None
        if not gradient:
            with torch.no_grad():
                return self._shaped(self._score(rows.to(dtype).mT), len(rows)).float(), None
        with torch.enable_grad():
            leaf = rows.to(dtype).requires_grad_()
            score = self._shaped(self._score(leaf.mT), len(rows))
            if not score.requires_grad:
                self.differentiable = False
                return score.float(), torch.zeros_like(rows, dtype=torch.float32)
            (slope,) = torch.autograd.grad(score.float().sum(), leaf)
        return score.detach().float(), slope.float()

    def _score(self, x: Tensor) -> Any:
        if not hasattr(self.oracle, "components"):
            return self.oracle(x)
        parts = self.oracle.components(x)  # type: ignore[operator]
        self._parts.append(parts.detach().float())
        return self.oracle.combine(parts)  # type: ignore[operator]

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
