"""Beam search for residual codes (Babenko and Lempitsky 2014, https://doi.org/10.1109/CVPR.2014.124; Liu et al. 2015,
https://arxiv.org/abs/1509.05195).

    minimise |x - c_1[i_1] - ... - c_n[i_n]|^2 over i:  each stage keeps, of all sums of one more code, the `beam` nearest to x

Greedy encoding is beam 1. A beam alone may lose the greedy sum in a stage and end with a worse one; here it is always kept.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from discrete_lightning.functional._precision import addmm_float32, float32, float32_matmul, without_autocast
from discrete_lightning.vq.functional.nearest_code import nearest_code

_BLOCK = 1 << 21  # distances held at a time
Choice = Callable[[Tensor], Tensor]


@without_autocast
@float32_matmul
@torch.no_grad()
def beam_search(
    vectors: Tensor,
    tables: Sequence[Tensor],
    beam: int,
    depths: Tensor | None = None,
    greedy: Sequence[Choice] | None = None,
) -> Tensor:
    """Indices of a sum of codes near to each vector, one code of each table.

    The squared error is never larger than that of the greedy choice, and the smallest possible if `beam` is at least the number
    of sums that the stages before the last one have.

    Args:
        vectors: shape (N, D), finite.
        tables: of each stage, shape (K_i, D).
        beam: how many sums are kept, >= 1.
        depths: int (N,): how many stages each vector uses, from 1 to all; None: all of them. The search is for these stages.
        greedy: of each stage, residuals (n, D) to the indices (n,) that the sum that is always kept takes. None: the nearest
            codes.

    Returns:
        int64 indices (N, number of stages), -1 in the stages that are not used.

    Raises:
        ValueError: if beam < 1.

    Example:
        >>> tables = [torch.tensor([[0.0], [3.0]]), torch.tensor([[1.9], [9.0]])]
        >>> beam_search(torch.tensor([[1.6]]), tables, beam=1), beam_search(torch.tensor([[1.6]]), tables, beam=2)
        (tensor([[1, 0]]), tensor([[0, 0]]))
    """
    if beam < 1:
        raise ValueError(f"a beam keeps 1 sum or more, got {beam}")
    flat = float32(vectors.detach())
    tables = [table.detach().to(flat.dtype) for table in tables]
    if greedy is None:
        greedy = [lambda rest, table=table: nearest_code(rest, table) for table in tables]  # type: ignore[misc]
    if torch.compiler.is_compiling():
        return _search(flat, tables, beam, depths, greedy)
    rows = max(1, _BLOCK // (beam * max(len(table) for table in tables)))
    limits = [None] * max(1, -(-len(flat) // rows)) if depths is None else depths.split(rows)
    blocks = zip(flat.split(rows), limits, strict=True)
    return torch.cat([_search(block, tables, beam, limit, greedy) for block, limit in blocks])


def _search(
    vectors: Tensor, tables: Sequence[Tensor], beam: int, depths: Tensor | None, greedy: Sequence[Choice]
) -> Tensor:
    chosen = torch.full((len(vectors), len(tables)), -1, dtype=torch.int64, device=vectors.device)
    rows: Tensor | None = None  # those that are still searched; None: all
    rest = vectors.unsqueeze(1)  # (n, sums, D), the greedy one first
    paths = chosen[:, :0].unsqueeze(1)  # (n, sums, stages so far)
    for stage, (table, choice) in enumerate(zip(tables, greedy, strict=True)):
        if depths is not None and stage:
            kept = (depths > stage).nonzero().squeeze(1)
            depths, rest, paths = depths[kept], rest[kept], paths[kept]
            rows = kept if rows is None else rows[kept]
        rest, paths = _one_more(rest, paths, table, choice(rest[:, 0]), beam)
        best = rest.square().sum(-1).argmin(-1)
        indices = paths.gather(1, best.view(-1, 1, 1).expand(-1, 1, stage + 1)).squeeze(1)
        padded = torch.nn.functional.pad(indices, (0, len(tables) - stage - 1), value=-1)
        chosen = padded if rows is None else chosen.index_copy(0, rows, padded)
    return chosen


def _one_more(rest: Tensor, paths: Tensor, table: Tensor, first: Tensor, beam: int) -> tuple[Tensor, Tensor]:
    """The residuals and paths of the `beam` nearest sums with a code of `table` more; the first one takes the code `first`."""
    number, sums, dim = rest.shape
    flat = rest.reshape(-1, dim)
    scores = addmm_float32(table.square().sum(-1), flat, table.t(), alpha=-2.0)
    scores = (scores + flat.square().sum(-1, keepdim=True)).view(number, sums * len(table))
    scores = scores.scatter(1, first.unsqueeze(1), -torch.inf)
    place = scores.topk(min(beam, scores.shape[1]), dim=1, largest=False).indices
    parent, code = place // len(table), place % len(table)
    rest = rest.gather(1, parent.unsqueeze(-1).expand(-1, -1, dim)) - torch.nn.functional.embedding(code, table)
    paths = paths.gather(1, parent.unsqueeze(-1).expand(-1, -1, paths.shape[-1]))
    return rest, torch.cat([paths, code.unsqueeze(-1)], -1)
