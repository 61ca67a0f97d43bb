"""The relaxation of Gumbel top-k."""

import math

import pytest
import torch

from discrete_lightning.functional import gumbel_softmax, relaxed_top_k
from tests.references import subsets
from tests.references.goodness_of_fit import chi_square_p


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_hard_draws_are_without_replacement_and_exact(dtype: torch.dtype) -> None:
    logits = torch.tensor([0.5, -1.0, 0.0, 1.5]).to(dtype)
    draws = relaxed_top_k(logits.expand(100_000, 4), 2, 0.7, hard=True, generator=torch.Generator().manual_seed(0))
    assert draws.unique().tolist() == [0, 1]
    assert (draws.sum(-1) == 2).all()
    expected = subsets.subset_log_probability(logits, subsets.subsets(4, 2)).exp()
    assert chi_square_p(subsets.counts(draws, 2), expected) > 1e-4


@pytest.mark.parametrize("k", [1, 2, 5])
def test_relaxed_sums_to_k_and_sharpens(k: int) -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    for tau in (0.05, 1.0):
        soft = relaxed_top_k(logits, k, tau, generator=torch.Generator().manual_seed(2))
        torch.testing.assert_close(soft.sum(-1), torch.full((6,), float(k)), rtol=1e-4, atol=1e-4)
    hard = relaxed_top_k(logits, k, 1.0, hard=True, generator=torch.Generator().manual_seed(2))
    cold = relaxed_top_k(logits, k, 0.01, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(cold, hard, rtol=0, atol=0.05)


def test_k_of_one_is_gumbel_softmax() -> None:
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(3))
    ours = relaxed_top_k(logits, 1, 0.6, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(ours, gumbel_softmax(logits, 0.6, generator=torch.Generator().manual_seed(4)))


def test_gradients_equal_those_of_a_float64_reference() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64, requires_grad=True)
    tau = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, t: relaxed_top_k(x, 3, t, noise=False), (logits, tau))
    weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    soft = relaxed_top_k(logits, 3, tau, generator=torch.Generator().manual_seed(7))
    hard = relaxed_top_k(logits, 3, tau, hard=True, generator=torch.Generator().manual_seed(7))
    for one, other in zip(
        torch.autograd.grad((soft * weights).sum(), (logits, tau)),
        torch.autograd.grad((hard * weights).sum(), (logits, tau)),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("tau", [0.1, 0.5, 1.0])
def test_a_category_far_ahead_is_chosen_once(tau: float, dtype: torch.dtype) -> None:
    """1 - p of it rounds to 0: bounded, the next draw would choose it again."""
    logits = torch.tensor([30.0, 0.3, 0.0, -math.inf], dtype=dtype, requires_grad=True)
    temperature = torch.tensor(tau, dtype=dtype, requires_grad=True)
    soft = relaxed_top_k(logits, 2, temperature, noise=False)
    # at the first draw log(1 - p) of the largest is logsumexp(others / tau) - 30 / tau
    others = torch.tensor([0.3, 0.0], dtype=torch.float64)
    second = torch.cat([30 + torch.logsumexp(others / tau, 0, keepdim=True) - 30 / tau, others])
    expected = torch.softmax(second / tau, 0) + torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(soft[:3].double(), expected, rtol=1e-4, atol=1e-6)
    for gradient in torch.autograd.grad(soft.square().sum(), (logits, temperature)):
        assert gradient.isfinite().all()


def test_masked_categories_are_never_chosen() -> None:
    logits = torch.tensor([0.0, -math.inf, 1.0, 2.0], requires_grad=True)
    sample = relaxed_top_k(logits.expand(1000, 4), 3, torch.tensor(0.3, requires_grad=True), hard=True)
    assert (sample[:, 1] == 0).all()
    sample.square().sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    with pytest.raises(ValueError, match="have no distribution"):
        relaxed_top_k(logits, 4)


@pytest.mark.parametrize("k", [0, 6, -1])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k} of 5"):
        relaxed_top_k(torch.zeros(5), k)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize(("bad", "what"), [(math.nan, "1 hold NaN"), (math.inf, "1 hold .inf")])
def test_rows_with_nan_or_infinity(bad: float, what: str, k: int, hard: bool) -> None:
    for noise in (True, False):
        with pytest.raises(
            ValueError, match=f"1 of 2 rows of logits have no distribution over subsets of k={k}.*{what}"
        ):
            relaxed_top_k(torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, bad, -1.0]]), k, hard=hard, noise=noise)


def test_all_of_them() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(8), requires_grad=True)
    for hard in (False, True):
        sample = relaxed_top_k(logits, 4, hard=hard)
        assert torch.equal(sample, torch.ones(3, 4))
        assert not torch.autograd.grad(sample.square().cumsum(-1).sum(), logits)[0].any()
