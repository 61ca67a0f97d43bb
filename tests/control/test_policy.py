"""Policies and their distributions against torch.distributions: several components, illegal actions, draws, temperatures."""

import math

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

from discrete_lightning.control.action_distribution import ActionDistribution, split_components
from discrete_lightning.control.policy import ActionChoice, CategoricalPolicy
from discrete_lightning.functional.gumbel import gumbel_noise
from discrete_lightning.layers.temperature import Temperature

SIZES = [(3,), (2, 2), (2, 4, 1)]


def _logits(actions: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(6, 5, sum(actions), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _legal(actions: tuple[int, ...]) -> Tensor:
    """About half of the actions, and the first one of each component."""
    parts = [torch.rand(6, 5, size, generator=torch.Generator().manual_seed(i)) < 0.5 for i, size in enumerate(actions)]
    for each in parts:
        each[..., 0] = True
    return torch.cat(parts, -1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("actions", SIZES, ids=str)
def test_values_and_gradients_are_those_of_torch_distributions(actions: tuple[int, ...], masked: bool) -> None:
    ours, theirs = (_logits(actions).requires_grad_() for _ in range(2))
    legal = _legal(actions) if masked else torch.ones_like(ours, dtype=torch.bool)
    policy = ActionDistribution(split_components(ours, actions, legal if masked else None))
    other = ActionDistribution(split_components(_logits(actions, 1), actions, legal if masked else None))
    parts = list(zip(theirs.split(list(actions), -1), legal.split(list(actions), -1), strict=True))
    floor = torch.finfo(torch.float64).min
    peers = [Categorical(logits=part.masked_fill(~allowed, floor)) for part, allowed in parts]
    others = [
        Categorical(logits=part.masked_fill(~allowed, floor))
        for part, (_, allowed) in zip(_logits(actions, 1).split(list(actions), -1), parts, strict=True)
    ]
    chosen = policy.draw(torch.Generator().manual_seed(0))
    pairs = [
        (policy.log_probability(chosen), sum(p.log_prob(chosen[..., m]) for m, p in enumerate(peers))),
        (policy.entropy(), sum(p.entropy() for p in peers)),
        (policy.kl(other), sum(kl_divergence(p, q) for p, q in zip(peers, others, strict=True))),
    ]
    for found, expected in pairs:
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        (slope,) = torch.autograd.grad(found.sum(), ours, retain_graph=True)
        (reference,) = torch.autograd.grad(expected.sum(), theirs, retain_graph=True)
        torch.testing.assert_close(slope, reference, rtol=1e-10, atol=1e-12)
        assert not slope[~legal].any()
    assert torch.equal(policy.mode(), torch.stack([p.probs.argmax(-1) for p in peers], -1))


def test_illegal_actions_have_no_probability_and_are_never_drawn() -> None:
    actions, legal = (2, 4), _legal((2, 4))
    policy = ActionDistribution(split_components(_logits(actions), actions, legal))
    allowed = split_components(torch.zeros_like(legal, dtype=torch.float32), actions, legal) == 0
    assert not policy.probabilities[~allowed].any()
    torch.testing.assert_close(policy.probabilities.sum(-1), torch.ones(6, 5, 2, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        assert bool(allowed.gather(-1, policy.draw(generator).unsqueeze(-1)).all())
    illegal = (~allowed[..., 0, 1]).nonzero()[0]
    row = torch.zeros(6, 5, 2, dtype=torch.int64)
    row[illegal[0], illegal[1], 0] = 1
    assert policy.log_probability(row)[illegal[0], illegal[1]] == -math.inf


def test_a_state_without_a_legal_action_is_refused() -> None:
    policy = CategoricalPolicy(nn.Linear(3, 4), [2, 2])
    legal = torch.tensor([[True, True, False, False]])
    with pytest.raises(ValueError, match=r"row|distribution|-inf"):
        policy(torch.zeros(1, 3), legal).entropy()


@pytest.mark.parametrize("legal", [torch.ones(1, 3), torch.ones(1, 2, dtype=torch.bool), torch.ones(3).bool()])
def test_bad_masks_and_logits_are_refused(legal: Tensor) -> None:
    with pytest.raises(ValueError, match="legal is bool"):
        split_components(torch.zeros(1, 3), [3], legal)
    with pytest.raises(ValueError, match="need 4 logits"):
        split_components(torch.zeros(1, 3), [2, 2])


def test_draws_are_exact() -> None:
    """Chi-square, confidence 99.9 %, one draw for the distribution and one for the choice that the collector makes."""
    logits = torch.tensor([0.5, -1.0, 2.0, -math.inf, 0.0, 0.0, 1.0, -1.0])
    policy = ActionDistribution(logits.view(1, 2, 4).expand(20_000, 2, 4))
    generator = torch.Generator().manual_seed(0)
    noise = gumbel_noise(policy.logits.shape, dtype=torch.float32, device="cpu", generator=generator)
    for chosen in (policy.draw(generator), ActionChoice()(policy.logits, noise)):
        joint = torch.bincount(chosen[:, 0] * 4 + chosen[:, 1], minlength=16).view(4, 4)
        p = policy.probabilities[0].double()
        expected = (p[0, :, None] * p[1]).mul(20_000)
        assert not joint[3].any()
        assert chisquare(joint[:3].flatten(), expected[:3].flatten(), sum_check=False).pvalue > 1e-3


def test_in_eval_the_most_likely_action_is_taken() -> None:
    policy = CategoricalPolicy(nn.Linear(3, 7), [3, 4], normed=True, temperature=0.3)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    distribution = policy(x)
    noise = 100 * torch.randn(distribution.logits.shape)
    assert not torch.equal(policy.choice(distribution.logits, noise), distribution.mode())
    policy.eval()
    assert torch.equal(policy.choice(distribution.logits, noise), distribution.mode())
    raw = policy.network(x)
    assert torch.equal(distribution.mode(), torch.stack([raw[:, :3].argmax(-1), raw[:, 3:].argmax(-1)], -1))


def test_the_temperature_divides_the_logits() -> None:
    network, x = nn.Linear(3, 4), torch.ones(2, 3)
    hot = CategoricalPolicy(network, 4, temperature=2.0)(x)
    torch.testing.assert_close(hot.logits[:, 0], network(x) / 2)


def test_a_learned_temperature_needs_a_scale() -> None:
    with pytest.raises(ValueError, match="not identified"):
        CategoricalPolicy(nn.Linear(3, 4), 4, temperature=Temperature(learnable=True))
    policy = CategoricalPolicy(nn.Linear(3, 4), 4, temperature=Temperature(learnable=True), normed=True)
    policy(torch.eye(3)).entropy().sum().backward()
    assert policy.temperature is not None
    assert policy.temperature.raw.grad is not None
    with pytest.raises(ValueError, match="one action or more"):
        CategoricalPolicy(nn.Linear(3, 4), [])


def test_bfloat16_logits_give_float32() -> None:
    policy = CategoricalPolicy(nn.Linear(3, 4).bfloat16(), [2, 2])
    found = policy(torch.ones(2, 3).bfloat16())
    assert found.logits.dtype == found.entropy().dtype == torch.float32
