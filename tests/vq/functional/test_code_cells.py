"""Cells of codes: the nearest code is never left out, and few codes are looked at where vectors have few dimensions."""

import pytest
import torch
from torch import Tensor

from discrete_lightning.vq.functional.code_cells import CodeCells
from discrete_lightning.vq.functional.nearest_code import has_cells, nearest_code


def table_and_vectors(own: int, codes: int = 10_000, count: int = 600, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of `own` dimensions, in 12."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(own, 12, generator=generator)
    table = torch.randn(codes, own, generator=generator) @ mixing
    return table - table.mean(0), torch.randn(count, own, generator=generator) @ mixing * 1.3


def squared(vectors: Tensor, table: Tensor) -> Tensor:
    return torch.cdist(vectors.double(), table.double(), compute_mode="donot_use_mm_for_euclid_dist").square()


@pytest.mark.parametrize("own", [1, 3, 12])
def test_the_code_found_is_the_nearest_in_float64(own: int) -> None:
    table, vectors = table_and_vectors(own)
    found = CodeCells(table).nearest(vectors)
    distances = squared(vectors, table)
    chosen = distances.gather(1, found.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(chosen, distances.amin(1), rtol=0, atol=2e-5)  # the rounding of float32 at such lengths


def test_vectors_far_from_all_codes_and_upon_a_code_find_the_nearest() -> None:
    table, _ = table_and_vectors(3)
    vectors = torch.cat([table[::37], 50 * table[:40], torch.zeros(3, 12)])
    distances = squared(vectors, table)
    chosen = distances.gather(1, CodeCells(table).nearest(vectors).unsqueeze(1)).squeeze(1)
    scale = vectors.double().square().sum(-1).clamp_min(1)
    assert ((chosen - distances.amin(1)) / scale).max() < 1e-5


def test_of_equal_codes_the_first_is_taken() -> None:
    table, _ = table_and_vectors(2, codes=900)
    doubled = torch.cat([table, table])
    assert torch.equal(CodeCells(doubled).nearest(table), torch.arange(900))
    same = torch.ones(500, 4)
    assert not CodeCells(same - same.mean(0)).nearest(torch.randn(20, 4)).any()


def test_few_codes_are_looked_at_in_few_dimensions() -> None:
    table, vectors = table_and_vectors(2)
    cells = CodeCells(table)
    assert (cells.reachable(vectors)[0].float() @ cells.sizes).mean() < 0.1 * len(table)
    assert cells.sizes.sum() == len(table)
    assert torch.equal(cells.order.sort().values, torch.arange(len(table)))


def test_a_bound_on_the_share_of_codes_is_kept_for_vectors_far_away() -> None:
    table, vectors = table_and_vectors(12)
    cells = CodeCells(table)
    far = 100 * vectors
    assert (cells.reachable(far)[0].float() @ cells.sizes).mean() > len(table) / 16
    around = cells.around(far, 1.5, 1 / 16)
    assert around.sum(1).unique().tolist() == [len(cells.centres) // 16]


def test_the_look_up_of_many_codes_takes_cells_and_still_names_what_is_not_finite() -> None:
    table, vectors = table_and_vectors(3)
    assert has_cells(vectors, table)
    assert not has_cells(vectors[:100], table)
    assert not has_cells(vectors, table[:8000])
    assert torch.equal(nearest_code(vectors + 3, table + 3), CodeCells(table - table.mean(0)).nearest(vectors))
    vectors[5, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        nearest_code(vectors, table)
