"""Routers: which experts they choose, with which probabilities and gates, and what they refuse."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator, GumbelSoftmax, LeaveOneOut, Paired, ReinMax
from discrete_lightning.layers.choices import Choices, choices_made
from discrete_lightning.models import MixtureFeedForward
from discrete_lightning.routing import (
    BiasBalancedRouter,
    ExpertChoiceRouter,
    NoisyTopKRouter,
    ReMoERouter,
    Router,
    SampledRouter,
    SwitchRouter,
    TopKRouter,
)
from discrete_lightning.routing.functional import subset_log_probability
from discrete_lightning.routing.routers import ROUTERS, router_of
from tests.references.goodness_of_fit import chi_square_p
from tests.references.inputs import leaf, seeded

N, DIM = 6, 6
LOGITS = torch.tensor([0.3, -1.0, 0.8, 0.0, 1.2, -0.4])


def with_logits(router: Router, logits: Tensor = LOGITS) -> Router:
    """A router whose logits for `ones(1, DIM)` are these."""
    with torch.no_grad():
        router.weight.copy_(logits.unsqueeze(1).expand(N, DIM) / DIM)
    return router


def routed(router: Router, rows: int = 1):
    return router(torch.ones(rows, DIM))


def plackett_luce(p: Tensor, subset: tuple[int, ...]) -> float:
    """The sum over orders, float64."""
    total = 0.0
    for order in itertools.permutations(subset):
        left, product = 1.0, 1.0
        for each in order:
            product *= float(p[each]) / left
            left -= float(p[each])
        total += product
    return total


@pytest.mark.parametrize("k", [1, 2, 3])
def test_subset_log_probability_is_the_sum_over_orders(k: int) -> None:
    logits = leaf(LOGITS.double(), torch.float64)
    p = torch.softmax(LOGITS.double(), 0)
    subsets = list(itertools.combinations(range(N), k))
    log_p = subset_log_probability(logits, torch.tensor(subsets))
    expected = torch.tensor([plackett_luce(p, each) for each in subsets], dtype=torch.float64)
    torch.testing.assert_close(log_p.exp(), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(log_p.exp().sum(), torch.ones((), dtype=torch.float64))
    values = torch.randn(len(subsets), dtype=torch.float64, generator=seeded(0))
    exact = torch.autograd.grad(log_p.exp() @ values, logits)[0]
    step = torch.zeros(N, dtype=torch.float64)
    step[2] = 1e-5
    ends = [subset_log_probability(logits.detach() + s * step, torch.tensor(subsets)).exp() @ values for s in (1, -1)]
    assert float(exact[2]) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_subset_log_probability_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"subset has the shape \(..., k\) of logits"):
        subset_log_probability(torch.zeros(3, 4), torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="each sample has 2 entries"):
        subset_log_probability(torch.zeros(4), torch.tensor([1, 1]))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("estimator", [ReinMax(), Paired()], ids=repr)
def test_sampled_sets_have_the_enumerated_probabilities(k: int, estimator: ReinMax | Paired) -> None:
    torch.manual_seed(0)
    rows = 20_000
    found = routed(with_logits(SampledRouter(DIM, N, k, estimator=estimator)), rows)
    assert found.indices.shape == (rows, k)
    torch.testing.assert_close(found.gates.detach(), torch.full((rows, k), 1 / k))
    subsets = list(itertools.combinations(range(N), k))
    chosen = (2**found.indices).sum(-1)
    counts = torch.tensor([int((chosen == sum(2**i for i in each)).sum()) for each in subsets])
    expected = subset_log_probability(LOGITS.double(), torch.tensor(subsets)).exp()
    assert chi_square_p(counts, expected) > 1e-4


def test_noisy_top_k_has_the_enumerated_probability() -> None:
    """P(expert 4 before 2) of two normal variables; noise of deviation log 2 at the start."""
    torch.manual_seed(1)
    rows = 20_000
    router = with_logits(NoisyTopKRouter(DIM, N, 2), torch.tensor([0.3, -50.0, 0.8, -50.0, -50.0, -50.0]))
    first = routed(router, rows).indices[:, 0]
    z = 0.5 / (math.log(2) * math.sqrt(2))
    expected = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    share = float((first == 2).float().mean())
    assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / rows)
    assert torch.equal(routed(router.eval()).logits, routed(router).logits)


def test_deterministic_routers_choose_as_their_formulas_say() -> None:
    p = torch.softmax(LOGITS, 0)
    top = LOGITS.topk(2).indices
    mixtral = routed(with_logits(TopKRouter(DIM, N, 2)))
    assert torch.equal(mixtral.indices[0], top)
    torch.testing.assert_close(mixtral.gates[0], torch.softmax(LOGITS[top], 0))
    deepseek = routed(with_logits(TopKRouter(DIM, N, 2, normalise=False)))
    torch.testing.assert_close(deepseek.gates[0], p[top])
    switch = routed(with_logits(SwitchRouter(DIM, N)).eval())
    assert int(switch.indices) == 4
    torch.testing.assert_close(switch.gates[0], p[4:5])
    relu = routed(with_logits(ReMoERouter(DIM, N)))
    torch.testing.assert_close(relu.gates[0], torch.relu(LOGITS))
    assert torch.equal(relu.taken[0], LOGITS > 0)
    balanced: BiasBalancedRouter = with_logits(BiasBalancedRouter(DIM, N, 2, scale=2.5))  # type: ignore[assignment]
    balanced.bias[1] = 10.0
    found = routed(balanced)
    assert found.indices[0].tolist() == [1, 4]
    scores = torch.sigmoid(LOGITS[[1, 4]])  # the bias is in the choice alone
    torch.testing.assert_close(found.gates[0], 2.5 * scores / scores.sum())


def test_switch_jitters_its_input_in_training_alone() -> None:
    torch.manual_seed(0)
    router = with_logits(SwitchRouter(DIM, N, jitter=0.5))
    assert not torch.equal(routed(router).logits, routed(router).logits)
    torch.testing.assert_close(routed(router).logits[0], LOGITS, rtol=0.5, atol=0)
    assert torch.equal(routed(router.eval()).logits, routed(router).logits)


@pytest.mark.parametrize("masked", [False, True])
def test_each_expert_chooses_its_share_of_a_row(masked: bool) -> None:
    router = ExpertChoiceRouter(4, 8, 2)
    nn.init.normal_(router.weight, generator=seeded(0))
    x = torch.randn(3, 20, 4, generator=seeded(1))
    mask = torch.arange(20) < torch.tensor([[20], [8], [3]]) if masked else None
    found = router(x, mask)
    sizes = [5, 2, 1] if masked else [5, 5, 5]
    assert found.taken.sum(1).tolist() == [[each] * 8 for each in sizes]
    p = torch.softmax(found.logits, -1)
    for row, size in enumerate(sizes):
        real = 20 if mask is None else int(mask[row].sum())
        assert set(p[row, :real, 0].topk(size).indices.tolist()) == set(found.taken[row, :, 0].nonzero()[:, 0].tolist())
    if mask is not None:
        shorter = router(x[1:2, :8])  # the same row without padding
        assert torch.equal(shorter.taken[0], found.taken[1, :8])


def test_small_noise_at_the_start_sends_tokens_everywhere() -> None:
    torch.manual_seed(0)
    for name in ROUTERS:
        router = router_of(name, 16, 4, 1 if name in ("switch", "sampled", "paired") else 2)
        assert 0 < router.weight.std() < 0.05
        found = router(torch.randn(4, 100, 16))
        chosen = found.indices if found.taken is None else found.indices[found.taken]
        assert chosen.unique().tolist() == [0, 1, 2, 3], name


def test_words_estimators_and_routers() -> None:
    assert isinstance(router_of("bias_balanced", 4, 8, 2), BiasBalancedRouter)
    paired = router_of("paired", 4, 8, 1)
    assert isinstance(paired, SampledRouter)
    assert paired.estimator == Paired()
    assert router_of(GumbelSoftmax(), 4, 8, 2).estimator == GumbelSoftmax()  # type: ignore[attr-defined]
    assert router_of(paired, 4, 8, 1) is paired
    for name in ("ReinMax", "LeaveOneOut", "StraightThrough", "GumbelRao", "Paired"):
        by_name = router_of(name, 4, 8, 1)
        assert isinstance(by_name, SampledRouter)
        assert type(by_name.estimator).__name__ == name
    for name in ("Estimator", "reinmax", "annotations"):
        with pytest.raises(ValueError, match=f"estimator or its name .*got '{name}'"):
            router_of(name, 4, 8, 1)


@pytest.mark.parametrize("name", [*ROUTERS, GumbelSoftmax()], ids=str)
def test_options_of_a_word(name: Any) -> None:
    k = 1 if name in ("switch", "sampled", "paired") else 2
    router = router_of(name, 4, 8, k, z=0.25)
    assert router.z is not None
    assert float(router.z()) == 0.25
    with pytest.raises(ValueError, match=r"Router has no option blance: its options are .*\bz\b"):
        router_of(name, 4, 8, k, blance=0.1)
    with pytest.raises(ValueError, match="balance cannot be given to a TopKRouter that was built before"):
        router_of(TopKRouter(4, 8), 4, 8, 2, balance=0.1)


def test_options_that_contradict_the_word() -> None:
    for name in ("paired", "ReinMax", GumbelSoftmax()):
        with pytest.raises(ValueError, match=r"two estimators, .* and LeaveOneOut"):
            router_of(name, 4, 8, 1, estimator=LeaveOneOut())
    assert router_of("sampled", 4, 8, 1, estimator=LeaveOneOut()).estimator == LeaveOneOut()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="options hold k, which the mixture says"):
        MixtureFeedForward(options={"k": 2})
    assert hash(MixtureFeedForward()) == hash(MixtureFeedForward())


def test_options_reach_the_router_of_a_feed_forward() -> None:
    layer: Any = MixtureFeedForward(4, 2, 6, router="bias_balanced", options={"speed": 0.5})(8)
    assert float(layer.router.speed()) == 0.5


@pytest.mark.parametrize("estimator", [Paired(), ReinMax()], ids=repr)
def test_noise_and_gates_of_a_sampled_router(estimator: Estimator) -> None:
    torch.manual_seed(0)
    router = SampledRouter(4, 6, 2, estimator=estimator, noise=0.5, gates="softmax")
    logits = 2 * torch.randn(6, generator=seeded(0))
    found = router.route(logits.expand(20_000, 6).clone().requires_grad_(), None)
    sets = list(itertools.combinations(range(6), 2))
    drawn = [sets.index(tuple(sorted(each))) for each in found.indices.tolist()]
    counts = torch.tensor(drawn).bincount(minlength=15)
    expected = subset_log_probability(logits / 0.5, torch.tensor(sets)).exp()
    assert chi_square_p(counts, expected) > 1e-4
    gates = torch.softmax(logits[found.indices], -1)
    torch.testing.assert_close(found.gates.detach(), gates, rtol=1e-5, atol=1e-6)
    router.noise.set(0.0)  # no noise: as in eval()
    best = router.route(logits.expand(50, 6).clone().requires_grad_(), None)
    assert set(best.indices.flatten().tolist()) == set(logits.topk(2).indices.tolist())
    calm = router.eval().route(logits.unsqueeze(0), None)
    top = TopKRouter(4, 6, 2).eval().route(logits.unsqueeze(0), None)
    assert torch.equal(calm.indices, top.indices)
    torch.testing.assert_close(calm.gates, top.gates)


def test_noise_of_noisy_top_k_can_be_taken_away() -> None:
    with pytest.raises(ValueError, match="noise must be 0 or positive"):
        NoisyTopKRouter(4, 6, 2, noise=-1.0)
    router, x = NoisyTopKRouter(4, 6, 2, noise=0.0), torch.randn(50, 4, generator=seeded(0))
    assert torch.equal(router(x).logits, router.eval()(x).logits)
    router.train().noise.set(0.5)
    torch.manual_seed(0)
    half = router(x).logits - router.eval()(x).logits
    router.train().noise.set(1.0)
    torch.manual_seed(0)
    torch.testing.assert_close(half * 2, router(x).logits - router.eval()(x).logits, rtol=1e-4, atol=1e-5)
    assert half.std().item() == pytest.approx(math.log(2) / 2, rel=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": 0.0}, "noise must be positive"),
        ({"gates": "equal"}, "'uniform' or 'softmax', got 'equal'"),
        ({"gates": "softmax", "k": 1}, "the gate is the constant 1"),
        ({"gates": "softmax", "estimator": GumbelSoftmax()}, "needs an estimator that draws"),
        ({"gates": "softmax", "estimator": LeaveOneOut()}, "needs an estimator that draws"),
    ],
)
def test_bad_options_of_a_sampled_router(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SampledRouter(**{"dim": 4, "count": 6, "k": 2} | arguments)


def test_the_monitor_sees_what_was_chosen() -> None:
    x = torch.randn(2, 5, 4, generator=seeded(0))
    mask = torch.ones(2, 5, dtype=torch.bool)
    inputs = {"x": x, "mask": mask}
    router: Router = TopKRouter(4, 8, 2)
    found = router(x, mask)
    choices = choices_made(router, inputs, found)
    assert isinstance(choices, Choices)
    assert torch.equal(choices.chosen, found.indices)
    assert choices.size == 8
    assert choices.mask is mask
    router = SampledRouter(4, 8, 2, estimator=GumbelSoftmax())
    found = router(x)
    seen = choices_made(router, {"x": x}, found)
    assert seen is not None
    assert torch.equal(seen.chosen, found.gates.topk(2).indices)
    router = ExpertChoiceRouter(4, 8, 2)
    gates = choices_made(router, inputs, router(x, mask))
    assert gates is not None
    assert gates.are_gates


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopKRouter(0, 4), "dim >= 1"),
        (lambda: TopKRouter(4, 4, 1), "the gate is the constant 1"),
        (lambda: SwitchRouter(4, 4, jitter=1.0), r"jitter must be in \[0, 1\), got 1.0"),
        (lambda: ReMoERouter(4, 4, factor=1.0), "factor > 1"),
        (lambda: TopKRouter(4, 4, balance=-1.0), "must not be negative"),
    ],
)
def test_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
    TopKRouter(4, 4, 1, normalise=False)
