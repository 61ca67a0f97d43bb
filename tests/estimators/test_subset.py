"""k of K by every estimator. p-values are bounded by 1e-4, intervals are 5 sigma, for seeds fixed in advance."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from discrete_lightning.estimators import DisARM, Estimator, LeaveOneOut
from discrete_lightning.functional import gumbel_softmax
from tests.references import every_estimator, subsets
from tests.references.every_estimator import PATHWISE, SOFT, each_pathwise, each_random, forward_tau
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded

LOGITS = torch.tensor([0.5, -1.0, 0.0, 1.2, -0.4])
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
compiles = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles


@dataclass(frozen=True)
class Plain(Estimator):
    """An estimator of a user, without a rule for subsets."""

    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return gumbel_softmax(logits, tau, hard=True, generator=generator)


def rounded(estimator: Estimator, sample: Tensor, k: int) -> Tensor:
    if estimator not in SOFT:
        return sample.detach()
    return torch.zeros_like(sample).scatter(-1, sample.topk(k).indices, 1.0).detach()


@pytest.mark.parametrize("estimator", [*every_estimator.RANDOM, Plain()], ids=repr)
@pytest.mark.parametrize("k", [2, 4])
def test_samples_follow_their_distribution(estimator: Estimator, k: int) -> None:
    """Plackett-Luce, or what `subsets` names. With a masked category."""
    logits, tau = torch.cat([LOGITS, torch.tensor([-math.inf])]), 0.6
    sample = rounded(estimator, estimator.subset(logits.expand(30_000, 6), k, tau, seeded(0)), k)
    assert not sample[:, 5].any()
    log_p = subsets.LOG_PROBABILITY[estimator.subsets](LOGITS / forward_tau(estimator, tau), subsets.subsets(5, k))
    assert chi_square_p(subsets.counts(sample[:, :5], k), log_p.exp()) > 1e-4


@each_pathwise
@each_dtype
def test_values(estimator: Estimator, dtype: torch.dtype) -> None:
    logits = (2 * torch.randn(20, 3, 7, generator=seeded(1))).to(dtype)
    for k in (1, 2, 5):
        sample = estimator.subset(logits, k, 0.5, seeded(2))
        assert (sample.shape, sample.dtype) == (logits.shape, dtype)
        rounding = 0.0 if estimator not in SOFT else {torch.bfloat16: 0.05, torch.float16: 5e-3}.get(dtype, 1e-5)
        torch.testing.assert_close(
            sample.double().sum(-1), torch.full((20, 3), float(k)).double(), rtol=0, atol=rounding
        )
        assert (sample >= 0).all()
        assert estimator in SOFT or sample.unique().tolist() == [0, 1]


@pytest.mark.parametrize("estimator", [*PATHWISE, Plain()], ids=repr)
def test_one_category_is_the_estimator_itself(estimator: Estimator) -> None:
    results = []
    for draw in (estimator, lambda x, tau, generator: estimator.subset(x, 1, tau, generator)):
        logits = leaf(torch.randn(30, 5, generator=seeded(3)))
        sample = draw(logits, 0.6, seeded(4))
        sample.backward(torch.randn(30, 5, generator=seeded(5)))
        results.append((sample.detach(), logits.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("estimator", [*PATHWISE, Plain()], ids=repr)
@each_dtype
def test_all_categories_are_ones_without_a_gradient(estimator: Estimator, dtype: torch.dtype) -> None:
    for categories in (2, 4):
        logits, tau = leaf(torch.randn(6, categories, generator=seeded(6)), dtype), leaf(0.5)
        sample = estimator.subset(logits, categories, tau)
        assert torch.equal(sample, torch.ones_like(sample))
        (sample * torch.arange(float(categories))).square().sum().backward()
        assert not logits.grad.any()
        assert tau.grad is None or tau.grad == 0


@each_pathwise
@each_dtype
@pytest.mark.parametrize("tau", [0.1, 1.5])
def test_masks_and_huge_logits(estimator: Estimator, dtype: torch.dtype, tau: float) -> None:
    """What is masked is not chosen while k others are left, and gets no gradient."""
    inf = math.inf
    rows = [[1e4, -1e4, 1e4, -inf, 0.0], [-inf, 0.5, -inf, 2.0, -inf], [-inf, -1e4, 0.0, -inf, 1.0]]
    logits, temperature = leaf(torch.tensor(rows).expand(20, 3, 5), dtype), leaf(tau)
    sample = estimator.subset(logits, 2, temperature, seeded(7))
    (sample * torch.tensor([3.0, 1.0, -1.0, 2.0, 0.5], dtype=dtype)).sum(-1).square().sum().backward()
    masked = logits.detach().isneginf()
    assert not sample[masked].any()
    assert not logits.grad[masked].any()
    assert logits.grad.isfinite().all()
    assert temperature.grad is None or temperature.grad.isfinite()
    assert (sample[:, 1] == torch.tensor([0.0, 1, 0, 1, 0], dtype=dtype)).all() or estimator in SOFT


@pytest.mark.parametrize("estimator", [*PATHWISE, Plain()], ids=repr)
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("row", [[math.nan, 0.0, 1.0], [math.inf, 0.0, 1.0], [-math.inf, 0.0, -math.inf]])
def test_rows_without_a_subset(estimator: Estimator, row: list[float], k: int) -> None:
    with pytest.raises(ValueError, match="rows of logits have no distribution"):
        estimator.subset(torch.tensor([[0.0, 1.0, 2.0], row]), k)


@each_pathwise
def test_fewer_categories_than_k(estimator: Estimator) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 rows .* 1 have fewer than 3 categories that are not masked"):
        estimator.subset(torch.tensor([[0.0, 1.0, 2.0, 3.0], [0.0, -math.inf, 1.0, -math.inf]]), 3)


@each_pathwise
def test_bad_arguments(estimator: Estimator) -> None:
    for k in (-1, 0, 6):
        with pytest.raises(ValueError, match=f"k={k} of 5"):
            estimator.subset(torch.zeros(2, 5), k)
    for tau in (0.0, -1.0, math.nan, math.inf, torch.tensor(0.0), torch.ones(3)):
        with pytest.raises(ValueError, match="tau must be"):
            estimator.subset(torch.zeros(2, 5), 2, tau)
    with pytest.raises(ValueError, match="logits must be floating"):
        estimator.subset(torch.zeros(2, 5, dtype=torch.int64), 2)


@each_pathwise
def test_a_bad_temperature_where_all_are_chosen(estimator: Estimator) -> None:
    if estimator.categorical:
        with pytest.raises(ValueError, match="tau must be positive"):
            estimator.subset(torch.zeros(2, 3), 3, 0.0)


def test_estimators_that_choose_no_subsets_say_so() -> None:
    with pytest.raises(TypeError, match=r"DisARM\(\) is for binary variables: it does not choose k=2"):
        DisARM().subset(torch.zeros(2, 5), 2)
    for k in (1, 2, 5):
        with pytest.raises(TypeError, match=r"LeaveOneOut needs the loss's value.*expectation"):
            LeaveOneOut().subset(torch.zeros(2, 5), k)
    for estimator in every_estimator.ALL:
        with pytest.raises((ValueError, TypeError), match=r"either binary or a subset|for binary variables"):
            estimator.expectation(lambda sample: sample.sum(-1), torch.zeros(2, 5), binary=True, k=2)


@each_random
def test_generators(estimator: Estimator) -> None:
    results, state = [], torch.get_rng_state()
    for seed in (8, 8, 9):
        logits = leaf(torch.randn(40, 6, generator=seeded(10)))
        sample = estimator.subset(logits, 3, 0.7, seeded(seed))
        (sample @ torch.arange(6.0)).square().sum().backward()
        results.append((sample.detach(), logits.grad))
    assert torch.equal(torch.get_rng_state(), state)
    for one, other, third in zip(*results, strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one, third)
    torch.manual_seed(1)
    first = estimator.subset(torch.zeros(40, 6), 3)
    assert not torch.equal(first, estimator.subset(torch.zeros(40, 6), 3))


@each_pathwise
def test_shapes_and_use_without_gradients(estimator: Estimator) -> None:
    for shape in ((4,), (0, 4), (2, 0, 4), (2, 3, 4)):
        logits = leaf(torch.zeros(shape))
        estimator.subset(logits, 2).square().sum().backward()
        assert logits.grad.shape == shape
    with torch.inference_mode():
        assert not estimator.subset(torch.zeros(3, 5), 2).requires_grad
    sample = estimator.subset(leaf(torch.zeros(3, 5)), 2)
    sample.mul_(2.0).sum().backward()  # in place


@compiles
@each_pathwise
def test_compiled(estimator: Estimator) -> None:
    """Several sizes of batch, a learnable temperature, one graph; the law and the mean gradient are those outside."""
    torch.compiler.reset()
    torch.manual_seed(11)
    compiled = torch.compile(lambda x, t: estimator.subset(x, 2, t), fullgraph=True, backend="aot_eager")
    for size in (5_000, 7):
        logits = leaf(LOGITS.expand(size, 5))
        sample = compiled(logits, leaf(0.6))
        (sample @ torch.arange(5.0)).square().sum().backward()
        if size == 5_000:
            check_traced(estimator, sample, logits)


@each_pathwise
def test_vmap(estimator: Estimator) -> None:
    torch.manual_seed(12)
    logits = leaf(LOGITS.expand(5_000, 5))
    sample = torch.func.vmap(lambda row: estimator.subset(row, 2, 0.6), randomness="different")(logits)
    (sample @ torch.arange(5.0)).square().sum().backward()
    check_traced(estimator, sample, logits)


def check_traced(estimator: Estimator, sample: Tensor, logits: Tensor) -> None:
    if estimator in every_estimator.RANDOM:
        log_p = subsets.LOG_PROBABILITY[estimator.subsets](LOGITS / forward_tau(estimator, 0.6), subsets.subsets(5, 2))
        assert chi_square_p(subsets.counts(rounded(estimator, sample, 2), 2), log_p.exp()) > 1e-4
    x = leaf(LOGITS.expand(5_000, 5))
    (estimator.subset(x, 2, 0.6, seeded(13)) @ torch.arange(5.0)).square().sum().backward()
    one, other = logits.grad.double(), x.grad.double()
    error = 5 * ((one.var(0) + other.var(0)) / len(one)).sqrt() + 1e-4
    assert ((one.mean(0) - other.mean(0)).abs() <= error).all()


@pytest.mark.parametrize(
    "estimator", [each for each in every_estimator.ALL if each.categorical and each.chooses_subsets], ids=repr
)
def test_expectation(estimator: Estimator) -> None:
    """The function sees k-hot samples of shape (..., B, *event)."""
    logits, seen = leaf(torch.randn(6, 2, 5, generator=seeded(14))), []

    def function(sample: Tensor) -> Tensor:
        seen.append(sample.detach())
        return (sample * torch.arange(5.0)).sum((-2, -1)).square()

    losses = estimator.expectation(function, logits, 0.6, seeded(15), k=3)
    losses.sum().backward()
    assert losses.shape == (6,)
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    sample = torch.cat([sample.reshape(-1, *logits.shape) for sample in seen])
    torch.testing.assert_close(sample.sum(-1), torch.full(sample.shape[:-1], 3.0))
