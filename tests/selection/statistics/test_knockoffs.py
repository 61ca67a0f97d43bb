"""Knockoffs have the joint second moments that make them exchangeable with their columns."""

import pytest
import torch

from discrete_lightning.selection.statistics import (
    gaussian_knockoffs,
    knockoff_scale,
    knockoff_select,
    ledoit_wolf,
    mvr_loss,
)
from tests.references.inputs import seeded
from tests.selection.tables import ar1, correlated, false_and_found, planted

METHODS = ("mvr", "maxent", "equi")


@pytest.mark.parametrize("method", METHODS)
def test_joint_covariance_is_that_of_exchangeable_columns(method: str) -> None:
    rows, columns = 100_000, 5
    sigma = ar1(columns, 0.6)
    scales = torch.tensor([1.0, 3.0, 0.1, 1.0, 2.0], dtype=torch.float64)
    x = correlated(rows, columns, 0.6, seeded(0)) * scales + 5
    covariance = sigma * scales.outer(scales)
    k = gaussian_knockoffs(x, method, covariance=covariance, generator=seeded(1))
    s = torch.diag(knockoff_scale(sigma, method) * scales.square())
    joint = torch.cat([torch.cat([covariance, covariance - s], 1), torch.cat([covariance - s, covariance], 1)])
    measured = torch.cov(torch.cat([x, k], dim=1).T)
    # the standard error of a covariance is at most sqrt(2 v_i v_j / n); 5 of them over 100 entries: p < 1e-4
    allowed = 5 * (2 * joint.diagonal().outer(joint.diagonal()) / rows).sqrt()
    assert ((measured - joint).abs() < allowed).all()
    for swapped in ([0], [1, 3], [0, 2, 4]):
        order = torch.arange(2 * columns)
        for j in swapped:
            order[[j, j + columns]] = order[[j + columns, j]]
        assert ((measured[order][:, order] - measured).abs() < 2 * allowed).all()
    assert (k.mean(dim=0) - 5).abs().max() < 0.06


def test_exchangeable_beyond_moments_with_ranks() -> None:
    """Skewed columns: knockoffs keep the marginal, and dependence on y of neither."""
    x = correlated(4000, 4, 0.5, seeded(2)).exp()
    k = gaussian_knockoffs(x, marginals="ranks", generator=seeded(3))
    assert torch.isin(k, x).all()
    quantiles = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
    at = x.quantile(quantiles, dim=0)
    for j in range(4):
        below = (k[:, j, None] <= at[:, j]).double().mean(dim=0)
        assert (below - quantiles).abs().max() < 0.04  # 5 standard errors at most
    logs = torch.cat([x, k], dim=1).log()
    measured = torch.corrcoef(logs.T)
    assert (measured[:4, :4] - measured[4:, 4:]).abs().max() < 0.08
    cross = measured[:4, 4:]
    off = ~torch.eye(4, dtype=torch.bool)
    assert (cross - measured[:4, :4])[off].abs().max() < 0.08


def test_ranks_give_a_discrete_column_only_its_own_values() -> None:
    x = correlated(600, 3, 0.5, seeded(4))
    x[:, 1] = (x[:, 1] > 0.8).double()
    k = gaussian_knockoffs(x, marginals="ranks", generator=seeded(5))
    assert set(k[:, 1].tolist()) == {0.0, 1.0}
    assert abs(float(k[:, 1].mean() - x[:, 1].mean())) < 0.07


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_mvr_is_an_optimum_and_no_worse_than_equicorrelated(rho: float) -> None:
    sigma = ar1(12, rho)
    mvr, equi, maxent = (knockoff_scale(sigma, method) for method in ("mvr", "equi", "maxent"))
    best = mvr_loss(sigma, mvr)
    assert best <= mvr_loss(sigma, equi * 0.999) + 1e-9
    assert best <= mvr_loss(sigma, maxent) + 1e-9
    for j in range(12):  # convex, so that no better neighbour means no better point
        for move in (-1e-3, 1e-3):
            near = mvr.clone()
            near[j] += move
            assert mvr_loss(sigma, near) >= best - 1e-7
    for s in (mvr, equi, maxent):
        assert (s > 0).all()
        assert torch.linalg.eigvalsh(2 * sigma - torch.diag(s))[0] > -1e-9


def test_mvr_loss_is_the_trace_of_the_inverse_joint_covariance() -> None:
    sigma = ar1(6, 0.4)
    s = knockoff_scale(sigma)
    off = sigma - torch.diag(s)
    joint = torch.cat([torch.cat([sigma, off], 1), torch.cat([off, sigma], 1)])
    assert mvr_loss(sigma, s) == pytest.approx(float(torch.linalg.inv(joint).trace()))


def test_maximum_entropy_has_the_largest_determinant() -> None:
    sigma = ar1(8, 0.7)

    def entropy(s: torch.Tensor) -> float:
        return float(torch.logdet(2 * sigma - torch.diag(s)) + s.log().sum())

    best = entropy(knockoff_scale(sigma, "maxent"))
    assert best >= entropy(knockoff_scale(sigma, "mvr"))
    assert best >= entropy(knockoff_scale(sigma, "equi") * 0.5)


def test_ledoit_wolf_is_its_formula_and_scikit_learns() -> None:
    x = correlated(30, 20, 0.5, seeded(6)) + 3
    centred = x - x.mean(dim=0)
    sample = centred.T @ centred / 30
    m = sample.trace() / 20
    d = (sample - m * torch.eye(20)).square().sum() / 20
    b = sum((row.outer(row) - sample).square().sum() for row in centred) / 30**2 / 20
    covariance, weight = ledoit_wolf(x)
    assert weight == pytest.approx(float(min(b, d) / d))
    torch.testing.assert_close(covariance, (1 - weight) * sample + weight * m * torch.eye(20, dtype=torch.float64))
    peer = pytest.importorskip("sklearn.covariance").ledoit_wolf(x.numpy())
    torch.testing.assert_close(covariance, torch.from_numpy(peer[0]))


def test_few_rows_are_shrunk_and_draws_are_reproducible() -> None:
    x = correlated(40, 60, 0.5, seeded(7)).float()
    state = torch.get_rng_state()
    k = gaussian_knockoffs(x, generator=seeded(8))
    assert torch.equal(torch.get_rng_state(), state)
    assert k.dtype == torch.float32
    assert torch.isfinite(k).all()
    assert torch.equal(k, gaussian_knockoffs(x, generator=seeded(8)))
    assert not torch.equal(k, gaussian_knockoffs(x, generator=seeded(9)))


def test_knockoffs_follow_the_units_of_columns() -> None:
    x = correlated(400, 4, 0.5, seeded(10))
    scales = torch.tensor([1e-3, 1.0, 1e4, 7.0], dtype=torch.float64)
    plain = gaussian_knockoffs(x, generator=seeded(11))
    torch.testing.assert_close(gaussian_knockoffs(x * scales + 2, generator=seeded(11)), plain * scales + 2)


def test_false_discoveries_are_controlled_without_training() -> None:
    """Ridge coefficients, 20 true of 100, 500 rows, 50 runs at .1: the mean rate, and the power."""
    rates, powers = [], []
    for run in range(50):
        generator = seeded(run)
        x = correlated(500, 100, 0.5, generator)
        true, signs = planted(100, 20, generator)
        y = x @ signs * 0.35 + torch.randn(500, dtype=torch.float64, generator=generator)
        both = torch.cat([x, gaussian_knockoffs(x, generator=generator)], dim=1)
        both = (both - both.mean(dim=0)) / both.std(dim=0)
        beta = torch.linalg.solve(both.T @ both + 50 * torch.eye(200, dtype=torch.float64), both.T @ (y - y.mean()))
        w = beta[:100].abs() - beta[100:].abs()
        rate, power = false_and_found(knockoff_select(w, 0.1), true)
        rates.append(rate)
        powers.append(power)
    found, power = torch.tensor(rates), sum(powers) / 50
    error = float(found.std()) / 50**0.5
    print(f"ridge: FDR {found.mean():.3f} +- {error:.3f}, power {power:.3f}")
    assert found.mean() <= 0.1 + 2 * error
    assert power > 0.5


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x[:, 0].fill_(2.5), "hold one value .columns 0"),
        (lambda x: x[3, 1].fill_(float("nan")), "row 3, column 1"),
        (lambda x: x[3, 1].fill_(float("inf")), "finite"),
        (lambda x: x[:, 2].copy_(x[:, 0]), "most correlated columns are 0 and 2"),
    ],
)
@pytest.mark.parametrize("marginals", ["gaussian", "ranks"])
def test_tables_without_knockoffs_are_refused(spoil, words: str, marginals: str) -> None:
    x = correlated(100, 3, 0.2, seeded(12))
    spoil(x)
    with pytest.raises(ValueError, match=words):
        gaussian_knockoffs(x, marginals=marginals)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "sdp"}, "mvr, maxent, equi, got 'sdp'"),
        ({"marginals": "uniform"}, "ranks"),
        ({"covariance": torch.eye(4)}, r"\(3, 3\)"),
        ({"covariance": torch.ones(3, 3)}, "linear combination"),
    ],
)
def test_arguments_are_checked(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gaussian_knockoffs(correlated(50, 3, 0.2, seeded(0)), **options)


@pytest.mark.parametrize("x", [torch.zeros(5), torch.zeros(1, 3), torch.ones(5, 2, dtype=torch.int64)])
def test_what_is_no_table_is_refused(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="gaussian_knockoffs needs"):
        gaussian_knockoffs(x)
