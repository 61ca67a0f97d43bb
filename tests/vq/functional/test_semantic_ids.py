"""Items told apart by one more token, and how many need it."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from discrete_lightning.metrics import CollisionRate
from discrete_lightning.vq.functional.semantic_ids import colliding, with_collision_token


def some_codes(number: int = 200) -> Tensor:
    return torch.randint(5, (number, 3), generator=torch.Generator().manual_seed(0))


def test_ids_are_unique_and_tokens_count_in_order() -> None:
    codes = some_codes()
    ids = with_collision_token(codes)
    assert torch.equal(ids[:, :3], codes)
    assert len({tuple(row) for row in ids.tolist()}) == 200
    seen: Counter[tuple[int, ...]] = Counter()
    for row, token in zip(codes.tolist(), ids[:, 3].tolist(), strict=True):
        assert token == seen[tuple(row)]
        seen[tuple(row)] += 1
    shared = torch.tensor([seen[tuple(row)] > 1 for row in codes.tolist()])
    assert torch.equal(colliding(codes), shared)
    assert with_collision_token(codes[:0]).shape == (0, 4)


def test_an_item_that_comes_twice_counts_once() -> None:
    """As where a sampler evens out the parts of ranks."""
    codes = some_codes()
    whole, parts = CollisionRate(), CollisionRate()
    whole.update(codes, torch.arange(200))
    for start in range(0, 200, 50):
        rows = torch.arange(start, start + 70) % 200  # 20 of the next part, too
        parts.update(codes[rows], rows)
    assert torch.equal(whole.compute(), parts.compute())
    torch.testing.assert_close(whole.compute(), colliding(codes).float().mean())
    empty = CollisionRate()
    empty.update(codes[:0], torch.arange(0))
    assert empty.compute() == 0
    with pytest.raises(ValueError, match=r"codes \(N, levels\) and items \(N,\), got \(3,\) and \(3,\)"):
        whole.update(torch.zeros(3, dtype=torch.int64), torch.arange(3))
