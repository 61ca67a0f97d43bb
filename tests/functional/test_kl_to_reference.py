"""What each estimate of the KL to a reference is worth, as a value and as a loss, in a language of 125 sentences."""

import math

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import kl_to_reference
from tests.references.inputs import leaf, seeded
from tests.references.small_language import SENTENCES, Language, kl

INF = math.inf


@pytest.fixture
def pi() -> Language:
    return Language.random(0)


@pytest.fixture
def ref() -> Tensor:
    """log ref of every sentence."""
    return Language.random(1).log_p().detach()


def mean_gradient(pi: Language, each: Tensor) -> Tensor:
    """E grad of what is differentiated for each drawn sentence: weights that are not differentiated."""
    return pi.gradient((pi.log_p().detach().exp() * each).sum())


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_values_without_bias(pi: Language, ref: Tensor, kind: str) -> None:
    log_p = pi.log_p()
    torch.testing.assert_close((log_p.exp() * kl_to_reference(log_p, ref, kind)).sum(), kl(log_p, ref))


def test_k2_is_biased_as_a_value(pi: Language, ref: Tensor) -> None:
    log_p = pi.log_p()
    exact = kl(log_p, ref)
    assert ((log_p.exp() * kl_to_reference(log_p, ref, "k2")).sum() - exact).abs() > 0.1 * exact


def test_gradients_as_losses(pi: Language, ref: Tensor) -> None:
    log_p = pi.log_p()
    forward, backward = pi.gradient(kl(log_p, ref)), pi.gradient(kl(ref, log_p))
    assert (forward - backward).norm() > 0.1 * forward.norm()
    expected = {"k1": torch.zeros_like(forward), "k2": forward, "k3": backward}
    for kind, gradient in expected.items():
        torch.testing.assert_close(mean_gradient(pi, kl_to_reference(log_p, ref, kind)), gradient)
    torch.testing.assert_close(pi.gradient(kl_to_reference(log_p, ref, "exact")), forward)


@pytest.mark.parametrize("kind", ["k1", "exact"])
def test_sums_over_positions_have_the_value_of_sentences(pi: Language, ref: Tensor, kind: str) -> None:
    language = Language.random(1)
    ours, theirs = pi.positions(SENTENCES), language.positions(SENTENCES)
    if kind == "k1":
        ours, theirs = pi.tokens(SENTENCES), language.tokens(SENTENCES)
    sums = kl_to_reference(ours, theirs, kind).sum(-1)
    log_p = pi.log_p()
    torch.testing.assert_close((log_p.exp() * sums).sum(), kl(log_p, ref))


@pytest.mark.parametrize("kind", ["k2", "exact"])
def test_sums_over_positions_as_losses_leave_out_later_words(pi: Language, ref: Tensor, kind: str) -> None:
    """The logits of the last word get the whole gradient, those of the first a part."""
    language = Language.random(1)
    ours, theirs = pi.positions(SENTENCES), language.positions(SENTENCES)
    if kind == "k2":
        ours, theirs = pi.tokens(SENTENCES), language.tokens(SENTENCES)
    found = mean_gradient(pi, kl_to_reference(ours, theirs.detach(), kind).sum(-1))
    exact = pi.gradient(kl(pi.log_p(), ref))
    torch.testing.assert_close(found[-125:], exact[-125:])
    assert (found[:5] - exact[:5]).norm() > 0.1 * exact[:5].norm()


def test_k3_near_the_reference_keeps_its_digits() -> None:
    log_q = torch.randn(1000, generator=seeded(2)) - 5
    log_p = log_q + 1e-3 * torch.randn(1000, generator=seeded(3))
    k1 = log_p - log_q
    torch.testing.assert_close(kl_to_reference(log_p, log_q, "k3"), k1.square() / 2, rtol=5e-3, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["k1", "k2", "k3", "exact"])
def test_computed_in_float32(dtype: torch.dtype, kind: str) -> None:
    logits = torch.randn(2, 3, 6, generator=seeded(4))
    log_p, log_q = logits.log_softmax(-1).to(dtype)
    found = kl_to_reference(log_p, log_q, kind)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    wide = kl_to_reference(log_p.double(), log_q.double(), kind)
    torch.testing.assert_close(found.double(), wide, rtol=1e-5, atol=1e-6)


def test_what_is_excluded() -> None:
    log_p, log_q = leaf([-INF, math.log(0.5), math.log(0.5)]), torch.tensor([0.25, 0.5, 0.25]).log()
    value = kl_to_reference(log_p, log_q, "exact")
    value.backward()
    assert value.item() == pytest.approx(0.5 * math.log(2), abs=1e-6)
    assert log_p.grad.isfinite().all()
    both = torch.tensor([-INF, 0.0])
    assert kl_to_reference(both, both, "exact") == 0
    assert kl_to_reference(log_q, log_p.detach(), "exact") == INF
    for kind in ("k1", "k2", "k3"):
        assert kl_to_reference(torch.zeros(1), torch.tensor([-INF]), kind) == INF


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
@pytest.mark.parametrize(
    ("log_p", "log_q", "words"),
    [
        ([-INF, 0.0], [0.0, 0.0], "1 of 2 log_p are not finite"),
        ([math.nan, 0.0], [0.0, 0.0], "1 of 2 log_p are not finite"),
        ([0.0, 0.0], [0.0, math.nan], "1 log_q are NaN"),
        ([0.0, 0.0], [INF, INF], "2 log_q are NaN or"),
    ],
)
def test_numbers_that_no_draw_has(kind: str, log_p: list[float], log_q: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kl_to_reference(torch.tensor(log_p), torch.tensor(log_q), kind)


def test_arguments() -> None:
    with pytest.raises(ValueError, match="kind must be one of k1, k2, k3, exact, got 'k4'"):
        kl_to_reference(torch.zeros(2), torch.zeros(2), "k4")
    with pytest.raises(ValueError, match=r"same actions are compared, got shapes \(2,\) and \(3,\)"):
        kl_to_reference(torch.zeros(2), torch.zeros(3))


@pytest.mark.parametrize("kind", ["k1", "k2", "k3", "exact"])
def test_empty(kind: str) -> None:
    assert kl_to_reference(torch.zeros(0, 3), torch.zeros(0, 3), kind).shape == ((0,) if kind == "exact" else (0, 3))


@pytest.mark.parametrize("kind", ["k1", "k2", "k3", "exact"])
def test_compiled(kind: str) -> None:
    log_p, log_q = torch.randn(2, 4, 6, generator=seeded(5)).log_softmax(-1)
    compiled = torch.compile(kl_to_reference, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(log_p, log_q, kind), kl_to_reference(log_p, log_q, kind))
