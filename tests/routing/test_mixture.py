"""Mixtures against all experts on all tokens: values, gradients, dtypes, skews, padding, rows that do not see one another."""

import copy

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import DisARM, Estimator, LeaveOneOut
from discrete_lightning.routing import ExpertMLP, MixtureOfExperts, Routed, SampledRouter, TopKRouter, routing_loss
from tests.references.inputs import seeded
from tests.references.routing import all_outputs, dense_mixture
from tests.routing.makers import COUNT, DIM, HIDDEN, NAMES, gradients_of_scores, mixture, same_draw

pytestmark = pytest.mark.filterwarnings("ignore:.*no optimiser trains what it computes from")
each_router = pytest.mark.parametrize("name", NAMES)


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, DIM, generator=seeded(seed))


def gradients(y: Tensor, layer: MixtureOfExperts, x: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    found = torch.autograd.grad((y * weights).sum() + y.square().mean(), [x, *layer.parameters()], allow_unused=True)
    return [torch.zeros(()) if each is None else each for each in found]


@each_router
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equal_to_all_experts_on_all_tokens(name: str, masked: bool, dtype: torch.dtype) -> None:
    """The router's gradient too: through gates, and through what rivals would have made."""
    layer = mixture(name)
    layer.experts.to(dtype)
    x = tokens(3, 7).to(dtype).requires_grad_()
    mask = torch.rand(3, 7, generator=seeded(1)) < 0.7 if masked else None
    y, routed = same_draw(layer, x, mask)
    expected = dense_mixture(layer, x, routed, mask)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert y.dtype == dtype
    for value, reference in zip(gradients(y, layer, x), gradients(expected, layer, x), strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-5, atol=1e-5 * float(1 + reference.abs().max()))
    if mask is not None:
        assert y[~mask].eq(0).all()


@each_router
def test_bfloat16(name: str) -> None:
    """The router computes in float32 whatever the dtype: the experts of each token are those of float32."""
    layer = mixture(name)
    x = tokens(40).bfloat16()[None].float()
    half = copy.deepcopy(layer).bfloat16()
    assert half.router.weight.dtype == torch.float32
    y, routed = same_draw(half, x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert routed.gates.dtype == torch.float32
    expected, as_float = same_draw(layer, x)
    assert torch.equal(routed.indices, as_float.indices)
    torch.testing.assert_close(y.float(), expected, rtol=5e-2, atol=5e-2)


def test_the_router_is_float32_under_autocast() -> None:
    layer = mixture("top_k")
    x = tokens(500)
    expected = layer.router(x)
    with torch.autocast("cpu", torch.bfloat16):
        routed = layer.router(x)
        y = layer(x)
    assert torch.equal(routed.logits, expected.logits)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, layer(x), rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("skew", [0.0, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("name", ["top_k", "noisy_top_k", "bias_balanced", "straight_through_2", "paired"])
def test_nothing_is_dropped(name: str, skew: float) -> None:
    """Up to all tokens to the same experts, and experts that get none."""
    layer = mixture(name)
    x = tokens(300)
    x[:, 0] = 1.0
    with torch.no_grad():
        layer.router.weight[:, 0] = skew * torch.arange(COUNT)
    y, routed = same_draw(layer, x)
    assert routed.indices.shape == (300, layer.k)
    assert (routed.indices.sort(-1).values.diff(dim=-1) > 0).all()
    torch.testing.assert_close(routed.gates.sum(-1), torch.ones(300))
    torch.testing.assert_close(y, dense_mixture(layer, x, routed), rtol=1e-5, atol=1e-5)


@each_router
def test_eval_is_deterministic_and_rows_do_not_see_one_another(name: str) -> None:
    layer, x = mixture(name).eval(), tokens(4, 9)
    first, second = layer(x), layer(x)
    assert torch.equal(first, second)
    for row in range(4):
        torch.testing.assert_close(layer(x[row : row + 1])[0], first[row], rtol=1e-6, atol=1e-6)
    assert layer.router(x).loss == 0


@pytest.mark.parametrize("name", [name for name in NAMES if name != "expert_choice"])
@pytest.mark.parametrize("training", [True, False])
def test_causal(name: str, training: bool) -> None:
    """The last token changes nothing before it."""
    layer = mixture(name).train(training)
    x = tokens(1, 12)
    changed = x.clone()
    changed[0, -1] += 100.0
    (y, _), (z, _) = same_draw(layer, x), same_draw(layer, changed)
    torch.testing.assert_close(y[0, :-1], z[0, :-1], rtol=1e-6, atol=1e-6)


@each_router
def test_one_token_and_none(name: str) -> None:
    layer = mixture(name)
    assert layer(tokens(1, 1)).shape == (1, 1, DIM)
    y = layer(tokens(2, 0))
    assert y.shape == (2, 0, DIM)
    (y.sum() + routing_loss(layer)).backward()
    assert all(each.grad is None or not each.grad.any() for each in layer.parameters())
    layer(tokens(2, 3), torch.zeros(2, 3, dtype=torch.bool)).sum().backward()
    assert all(each.grad is None or not each.grad.any() for each in layer.parameters())


@each_router
def test_values_at_padding_have_no_effect(name: str) -> None:
    layer = mixture(name)
    x, mask = tokens(2, 6), torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    other = x.clone()
    other[~mask] = torch.nan
    other.requires_grad_()
    (y, routed), (z, same) = same_draw(layer, x, mask), same_draw(layer, other, mask)
    assert torch.equal(y, z)
    torch.testing.assert_close(routed.loss, same.loss)
    (z.sum() + same.loss).backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in layer.parameters())
    assert other.grad is not None
    assert other.grad[~mask].eq(0).all()


def test_unchosen_experts_run_without_a_graph() -> None:
    """Of a dense estimator with samples of 0 and 1: their weights get a gradient of exactly zero."""
    layer = mixture("reinmax")
    x = tokens(1)
    y, routed = same_draw(layer, x)
    y.sum().backward()
    chosen = int(routed.indices)
    assert isinstance(layer.experts.w_in.grad, Tensor)
    assert [bool(each.any()) for each in layer.experts.w_in.grad] == [i == chosen for i in range(COUNT)]
    assert layer.router.weight.grad is not None
    assert layer.router.weight.grad.any()


def test_a_mixture_of_samples_runs_all_experts() -> None:
    layer, x = mixture("gumbel"), tokens(5)
    y, routed = same_draw(layer, x)
    weights = torch.zeros(5, COUNT).scatter(1, routed.indices, routed.gates.detach())
    torch.testing.assert_close(y, (weights.unsqueeze(-1) * all_outputs(layer.experts, x)).sum(1), rtol=1e-5, atol=1e-5)


def test_leave_one_out_through_expectation() -> None:
    """Unbiased: the mean over many equal rows is the exact gradient, within 5 standard errors."""
    torch.manual_seed(0)
    layer = MixtureOfExperts(ExpertMLP(DIM, HIDDEN), 4, 1, router=LeaveOneOut(2), tokens="independent")
    nn.init.normal_(layer.router.weight)
    one, rows = tokens(1), 20_000
    scores, grads = layer.router.scores, gradients_of_scores(layer)
    losses = layer.expectation(lambda y: y.square().sum(-1), one.expand(rows, DIM))
    assert losses.shape == (rows,)
    with torch.no_grad():
        assert routing_loss(layer).item() > 0.009  # of a balance loss of weight .01, at least 1 but for noise
    losses.sum().backward()
    logits = scores(one)[0].detach().requires_grad_()
    values = all_outputs(layer.experts, one)[0].square().sum(-1).detach()
    (torch.softmax(logits, 0) @ values).backward()
    assert logits.grad is not None
    error = 5 * grads[0].std(0) / rows**0.5
    assert ((grads[0].mean(0) - logits.grad).abs() < error).all()
    assert layer.eval().expectation(lambda y: y.sum(-1), one).shape == (1,)


def test_two_passes_of_a_copy_are_independent() -> None:
    layer, x = mixture("bias_balanced"), tokens(5)
    layer(x).sum().backward()
    twin = copy.deepcopy(layer)
    assert twin.loss is None
    assert torch.equal(twin.eval()(x), layer.eval()(x))


# What cannot work says so


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 5}, r"1 <= k <= 4, got k=5"),
        ({"k": 0}, r"1 <= k <= 4, got k=0"),
        ({"count": 0}, "count >= 1 experts, got 0"),
        ({"k": 1}, "the gate is the constant 1"),
        ({"k": 1, "router": "noisy_top_k"}, "the gate is the constant 1"),
        ({"k": 1, "router": "bias_balanced"}, "the gate is the constant 1"),
        ({"k": 2, "router": "switch"}, "chooses one expert, got k=2"),
        ({"router": "best"}, "one of top_k, noisy_top_k"),
        ({"router": "expert_choice"}, "this model is causal"),
        ({"router": LeaveOneOut()}, "a token's choice changes the losses of other tokens"),
        ({"router": DisARM()}, "is for binary variables"),
        ({"router": TopKRouter(DIM, 8)}, "router is for dim=8, count=8, k=2"),
        ({"level": "row"}, "'token' or 'sequence', got 'row'"),
        ({"level": "sequence"}, "from all tokens of a row, and this model is causal"),
        (
            {"level": "sequence", "tokens": "bidirectional", "router": "expert_choice"},
            "depend on other rows of the batch",
        ),
        ({"tokens": "sometimes"}, "'causal', 'bidirectional' or 'independent'"),
        ({"expert": nn.Linear(DIM, DIM)}, "give a function that makes one"),
        ({"expert": lambda: nn.Linear(DIM, DIM + 1)}, r"keeps the shape .* \(2, 8\), it made \(2, 9\)"),
        ({"expert": lambda: nn.Sequential(nn.Linear(DIM, DIM), nn.BatchNorm1d(DIM))}, "holds BatchNorm1d '1'"),
        ({"expert": nn.Tanh}, "give dim"),
        ({"dim": 3, "expert": ExpertMLP(DIM, 4).stacked(4)}, "asked for count=4, dim=3"),
    ],
)
def test_refused_when_built(arguments: dict, message: str) -> None:
    given = {"expert": ExpertMLP(DIM, HIDDEN), "count": 4, "k": 2, **arguments}
    with pytest.raises(ValueError, match=message):
        MixtureOfExperts(**given)


def test_refused_when_called() -> None:
    layer = mixture("top_k")
    with pytest.raises(ValueError, match=r"takes tokens \(..., 8\), got \(3, 7\)"):
        layer(torch.zeros(3, 7))
    with pytest.raises(ValueError, match="1 hold NaN"):
        layer(torch.full((1, DIM), torch.nan))
    with pytest.raises(ValueError, match="1 hold NaN"):
        mixture("bias_balanced")(torch.full((1, DIM), torch.nan))
    with pytest.raises(ValueError, match=r"of shape \(2, 3\) or of its first dimensions"):
        layer(tokens(2, 3), torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="True at real positions"):
        layer(tokens(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"it takes \(rows, tokens, dim\)"):
        mixture("expert_choice")(tokens(3))
    independent = MixtureOfExperts(ExpertMLP(DIM, HIDDEN), 4, 1, router=LeaveOneOut(), tokens="independent")
    with pytest.raises(TypeError, match="needs the loss's value"):
        independent(tokens(3))
    with pytest.raises(ValueError, match="takes one choice a row"):
        independent.expectation(lambda y: y.sum(-1), tokens(2, 3))


def test_an_estimator_of_the_user_that_mixes_is_not_taken_for_one_that_draws() -> None:
    """`hard` is False unless a class says otherwise."""
    routed = SampledRouter(DIM, 4, 1, estimator=_Mixing())(tokens(3))
    assert isinstance(routed, Routed)
    assert routed.indices.shape == (3, 4)


class _Mixing(Estimator):
    def __call__(self, logits: Tensor, tau: float | Tensor = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return torch.softmax(logits, -1)
