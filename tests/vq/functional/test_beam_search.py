"""Beam search against the enumeration of all sums of codes."""

import itertools

import pytest
import torch
from torch import Tensor

from discrete_lightning.vq.functional import beam_search as module
from discrete_lightning.vq.functional.beam_search import beam_search


def problem(seed: int, stages: int = 3, codes: int = 4, dim: int = 3) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    tables = [torch.randn(codes + i, dim, generator=generator) * 0.6**i for i in range(stages)]
    return torch.randn(60, dim, generator=generator), tables


def squared_error(vectors: Tensor, tables: list[Tensor], indices: Tensor) -> Tensor:
    chosen = zip(tables, indices.unbind(-1), strict=False)
    total = sum(table.double()[index] * (index >= 0).unsqueeze(-1) for table, index in chosen)
    return (vectors.double() - total).square().sum(-1)


def least_error(vectors: Tensor, tables: list[Tensor]) -> Tensor:
    every = torch.tensor(list(itertools.product(*(range(len(table)) for table in tables))))
    sums = torch.stack([table.double()[column] for table, column in zip(tables, every.unbind(-1), strict=True)]).sum(0)
    return torch.cdist(vectors.double(), sums).square().amin(-1)


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_all_sums_finds_the_least_error(seed: int) -> None:
    vectors, tables = problem(seed)
    found = beam_search(vectors, tables, beam=4 * 5)
    torch.testing.assert_close(
        squared_error(vectors, tables, found), least_error(vectors, tables), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("beam", [2, 3, 5])
def test_never_worse_than_greedy(beam: int) -> None:
    better = 0
    for seed in range(20):
        vectors, tables = problem(seed, stages=4)
        greedy = squared_error(vectors, tables, beam_search(vectors, tables, 1))
        found = squared_error(vectors, tables, beam_search(vectors, tables, beam))
        assert (found <= greedy + 1e-5).all()
        better += int((found < greedy - 1e-5).sum())
    assert better > 300  # of 1,200


def test_a_beam_of_one_is_greedy() -> None:
    vectors, tables = problem(0)
    rest, chosen = vectors, []
    for table in tables:
        chosen.append(torch.cdist(rest.double(), table.double()).argmin(-1))
        rest = rest - table[chosen[-1]]
    assert torch.equal(beam_search(vectors, tables, 1), torch.stack(chosen, -1))


def test_each_vector_is_searched_for_its_own_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, tables = problem(1)
    depths = torch.arange(60) % 3 + 1
    found = beam_search(vectors, tables, 3, depths)
    for depth in (1, 2, 3):
        alone = beam_search(vectors[depths == depth], tables[:depth], 3)
        assert torch.equal(found[depths == depth, :depth], alone)
        assert (found[depths == depth, depth:] == -1).all()
    monkeypatch.setattr(module, "_BLOCK", 100)  # several blocks
    assert torch.equal(beam_search(vectors, tables, 3, depths), found)
    assert beam_search(vectors[:0], tables, 3).shape == (0, 3)


def test_the_choice_that_is_always_kept() -> None:
    """With a rule of its own it is never worse than that rule."""
    vectors, tables = problem(2)
    farthest = [lambda rest, table=table: torch.cdist(rest, table).argmax(-1) for table in tables]
    rest, own = vectors, []
    for table, choose in zip(tables, farthest, strict=True):
        own.append(choose(rest))
        rest = rest - table[own[-1]]
    assert torch.equal(beam_search(vectors, tables, 1, greedy=farthest), torch.stack(own, -1))
    with pytest.raises(ValueError, match="keeps 1 sum or more, got 0"):
        beam_search(vectors, tables, 0)
