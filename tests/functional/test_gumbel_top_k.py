"""Exact draws without replacement. p-values are bounded by 1e-4, for seeds fixed in advance."""

import math

import pytest
import torch

from discrete_lightning.functional import gumbel_top_k, subset_k_hot, top_k_hot
from tests.references import subsets
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import seeded

LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.5])


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_orders_follow_plackett_luce(k: int) -> None:
    draws = gumbel_top_k(LOGITS.expand(50_000, 4), k, generator=seeded(0))
    every, code = subsets.orders(4, k), 4 ** torch.arange(k)
    counts = torch.stack([(draws @ code == value).sum() for value in every @ code])
    assert counts.sum() == 50_000
    assert chi_square_p(counts, subsets.order_probability(LOGITS, every)) > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_k_hot_draws_are_exact_in_every_dtype(dtype: torch.dtype) -> None:
    logits = LOGITS.to(dtype)
    draws = subset_k_hot(logits.expand(50_000, 4), 2, generator=seeded(1))
    assert draws.dtype == dtype
    assert draws.unique().tolist() == [0, 1]
    expected = subsets.subset_log_probability(logits, subsets.subsets(4, 2)).exp()
    assert chi_square_p(subsets.counts(draws, 2), expected) > 1e-4


def test_the_largest() -> None:
    logits = torch.randn(3, 5, 7, generator=seeded(2), requires_grad=True)
    chosen = top_k_hot(logits, logits, 3)
    assert not chosen.requires_grad
    assert torch.equal(chosen.bool().nonzero()[:, 2].view(3, 5, 3), logits.topk(3).indices.sort().values)


def test_masks() -> None:
    logits = torch.tensor([[0.0, -math.inf, -50.0, 2.0]] * 500)
    assert not subset_k_hot(logits, 3, generator=seeded(3))[:, 1].any()
    assert torch.equal(top_k_hot(logits, logits, 3), torch.tensor([[1.0, 0, 1, 1]] * 500))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([math.nan, 0.0, 1.0], "1 hold NaN"),
        ([math.inf, 0.0, 1.0], "1 hold .inf"),
        ([-math.inf, 0.0, -math.inf], "1 have fewer than 2 categories"),
    ],
)
@pytest.mark.parametrize("draw", [gumbel_top_k, subset_k_hot, lambda x, k: top_k_hot(x, x, k)])
def test_rows_without_a_subset(draw: object, row: list[float], message: str) -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], row])
    with pytest.raises(
        ValueError, match=f"1 of 2 rows of logits have no distribution over subsets of k=2: .*{message}"
    ):
        draw(logits, 2)  # type: ignore[operator]


@pytest.mark.parametrize("k", [0, 6, -1])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} of 5"):
        gumbel_top_k(torch.zeros(5), k)
    with pytest.raises(ValueError, match="logits must be floating"):
        gumbel_top_k(torch.zeros(5, dtype=torch.int64), 2)
