"""KS tests fail true draws with probability 1e-4, intervals are 5 sigma (6e-7), for seeds fixed in advance."""

import math
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from discrete_lightning.functional import conditional_gumbel, gumbel_rao
from tests.references import estimators as reference
from tests.references.goodness_of_fit import uniform_p
from tests.references.inputs import leaf, seeded

MODULE = sys.modules["discrete_lightning.functional.gumbel_rao"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """The conditional noise of every block, as the backward pass draws it, in one thread and so in order."""
    blocks: list[Tensor] = []
    condition = MODULE._condition_

    def recorded(*args: Tensor) -> Tensor:
        blocks.append(condition(*args))
        return blocks[-1].clone()

    monkeypatch.setattr(MODULE, "_condition_", recorded)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield blocks
    torch.set_num_threads(before)


@pytest.mark.parametrize("block", [1, 100, 1 << 19])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("learnable", [False, True])
def test_the_gradient_given_the_noise(
    tau: float, learnable: bool, dtype: torch.dtype, block: int, drawn: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK", block)
    logits = leaf(2 * torch.randn(4, 3, 5, generator=seeded(1), dtype=torch.float64), dtype)
    g = torch.randn(4, 3, 5, generator=seeded(2)).to(dtype)
    temperature = leaf(tau, torch.float64)
    sample = gumbel_rao(logits, temperature if learnable else tau, samples=7, generator=seeded(3))
    assert not drawn  # in the backward pass only
    sample.backward(g)
    assert len(drawn) == {1: 12, 100: 6, 1 << 19: 1}[block]
    z = torch.cat(drawn, 1)
    assert z.shape == (7, 12, 5)
    assert torch.equal(z.argmax(-1), sample.argmax(-1).view(1, 12).expand(7, 12))
    to_logits, to_tau = reference.gumbel_rao(z, tau, g.view(12, 5))
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(logits.grad.view(12, 5).double(), to_logits, rtol=tolerance, atol=tolerance / tau)
    if learnable:
        assert float(temperature.grad) == pytest.approx(to_tau, rel=1e-9 if dtype == torch.float64 else 1e-4, abs=1e-4)


def test_noise_in_the_backward_pass_stays_small(drawn: list[Tensor]) -> None:
    sizes = {}
    for samples in (10, 100):
        drawn.clear()
        gumbel_rao(leaf(torch.zeros(3000, 64)), 0.5, samples=samples, generator=seeded(4)).sum().backward()
        assert sum(z.shape[1] for z in drawn) == 3000
        sizes[samples] = max(z.numel() for z in drawn)
    assert max(sizes.values()) <= 1 << 19


def saved_bytes(samples: int) -> int:
    sizes: list[int] = []

    def pack(x: Tensor) -> Tensor:
        sizes.append(x.numel() * x.element_size())
        return x

    logits, tau = leaf(torch.zeros(64, 32)), leaf(0.5)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        gumbel_rao(logits, tau, samples=samples, generator=seeded(5))
    return sum(sizes)


def test_what_is_saved_does_not_grow_with_the_samples() -> None:
    assert 0 < saved_bytes(1) == saved_bytes(50)
    assert saved_bytes(50) < 3 * 64 * 32 * 4


def test_a_second_backward_pass_gives_the_same_bits_and_draws_nothing_from_the_default_generator() -> None:
    logits, tau = leaf(torch.randn(40, 6, generator=seeded(6))), leaf(0.5)
    state, generator = torch.get_rng_state(), seeded(7)
    loss = (gumbel_rao(logits, tau, generator=generator) * torch.randn(40, 6, generator=seeded(8))).sum()
    after = generator.get_state()
    first, second = (torch.autograd.grad(loss, (logits, tau), retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(generator.get_state(), after)


def test_draws_of_one_generator_differ_in_their_gradients() -> None:
    logits, generator, gradients = torch.zeros(20, 6), seeded(9), []
    for _ in range(2):
        x = leaf(logits)
        sample = gumbel_rao(x, 0.5, generator=generator)
        (sample * torch.arange(6.0)).sum().backward()
        gradients.append(x.grad)
    assert not torch.equal(*gradients)


P = torch.tensor([0.6, 0.25, 0.1499, 1e-4])


@pytest.mark.parametrize("samples", [1, 3])
def test_conditional_noise_mixes_to_plain_gumbel_noise(samples: int) -> None:
    """With the index drawn from p, each category's z is log p + Gumbel, and they are independent."""
    rows = 30_000
    index = torch.multinomial(P.expand(rows, 4), 1, generator=seeded(10)).squeeze(-1)
    z = conditional_gumbel(P.expand(rows, 4), index, samples=samples, generator=seeded(11))
    assert z.shape == (samples, rows, 4)
    for noisy in z:
        uniform = torch.exp(-torch.exp(-(noisy.double() - P.double().log())))
        for category in range(4):
            assert uniform_p(uniform[:, category]) > 1e-4
        correlation = torch.corrcoef(uniform.T) - torch.eye(4)
        assert correlation.abs().max() < 5 / math.sqrt(rows)


@pytest.mark.parametrize("index", range(4))
def test_conditional_noise_given_the_index(index: int) -> None:
    """The index is the argmax; the maximum is standard Gumbel whatever the index; the others are truncated at it."""
    rows = 30_000
    z = conditional_gumbel(P.expand(rows, 4), torch.full((rows,), index), samples=2, generator=seeded(12)).double()
    best = z[..., index]
    assert (best.unsqueeze(-1) >= z).all()
    for sample in range(2):
        assert uniform_p(torch.exp(-torch.exp(-best[sample]))) > 1e-4
        for other in set(range(4)) - {index}:
            # P(Z <= x | Z <= best) = exp(-p e^-x + p e^-best)
            p = float(P[other])
            assert uniform_p(torch.exp(-p * (torch.exp(-z[sample, :, other]) - torch.exp(-best[sample])))) > 1e-4
    assert abs(torch.corrcoef(best)[0, 1]) < 5 / math.sqrt(rows)  # samples have independent noise


def test_conditional_noise_of_a_category_that_cannot_be() -> None:
    z = conditional_gumbel(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([1]), samples=100, generator=seeded(13))
    assert z[..., [0, 2]].isneginf().all()
    assert z[..., 1].isfinite().all()


def traced(logits: Tensor, samples: int = 10) -> Tensor:
    """Draws inside a transform, where all noise is made at once."""
    return torch.func.vmap(lambda row: gumbel_rao(row, 0.5, samples=samples), randomness="different")(logits)


def gradients(logits: Tensor, in_a_trace: bool, seed: int) -> Tensor:
    torch.manual_seed(seed)
    x = leaf(logits)
    sample = traced(x) if in_a_trace else gumbel_rao(x, 0.5)
    ((sample * torch.tensor([1.0, -2.0, 3.0])).sum(-1) ** 2).sum().backward()
    return x.grad.double()


@pytest.mark.parametrize("row", [[0.5, -1.0, 0.0], [200.0, 201.0, 198.0], [0.0, 1.0, -math.inf]])
def test_traced_and_eager_have_one_mean(row: list[float]) -> None:
    rows = torch.tensor(row).expand(40_000, 3)
    one, other = (gradients(rows, in_a_trace, 14) for in_a_trace in (False, True))
    error = (one.mean(0) - other.mean(0)).abs()
    assert (error <= 5 * ((one.var(0) + other.var(0)) / len(one)).sqrt() + 1e-6).all()


@pytest.mark.parametrize("in_a_trace", [False, True])
def test_a_constant_added_to_the_logits_changes_nothing(in_a_trace: bool) -> None:
    """Also where a probability is rounded to 0: here e^-150."""
    row = torch.tensor([0.0, 0.5, -150.0])
    near, far = (gradients((row + shift).expand(500, 3), in_a_trace, 15) for shift in (0.0, 300.0))
    assert near.any()
    torch.testing.assert_close(far, near, rtol=1e-3, atol=1e-3)


def test_samples_must_be_positive() -> None:
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        gumbel_rao(torch.zeros(2, 3), samples=0)
