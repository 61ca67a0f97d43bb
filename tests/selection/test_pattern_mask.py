"""N:M masks: exactly n of m, the expected mask and gradients by enumeration, layers masked and made plain again."""

import copy
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from discrete_lightning.estimators import GumbelSoftmax, LeaveOneOut, ReinMax, Softmax, StraightThrough
from discrete_lightning.layers.choices import choices_made
from discrete_lightning.layers.relaxed import RelaxedCategorical
from discrete_lightning.layers.temperature import LossWeight, Temperature
from discrete_lightning.layers.use_estimator import use_estimator
from discrete_lightning.selection import (
    PatternMask,
    kept_weight_bonus,
    magnitude_pattern,
    mask_linear,
    pattern_masks,
    remove_masks,
    sparsity_patterns,
)
from tests.references import every_estimator
from tests.references.inputs import seeded

SIX = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]])
LOGITS = torch.tensor([0.3, -0.5, 1.2, 0.0, -1.0, 0.6])
COST = torch.tensor([1.0, -2.0, 0.5, 3.0])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def per_group(mask: Tensor, m: int = 4) -> Tensor:
    """The entries kept of each m inputs that follow one another, for each output and place of a kernel."""
    return mask.unflatten(1, (-1, m)).sum(2)


def one_group(estimator: every_estimator.Estimator | None, rows: int) -> PatternMask:
    mask = PatternMask((rows, 4), estimator=estimator)
    mask.logits.data.copy_(LOGITS.expand(rows, 6))
    return mask


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1, groups=2, bias=False), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8 * 9, 6))


IMAGES = torch.randn(5, 4, 3, 3, generator=seeded(9))


# patterns


def test_the_six_patterns() -> None:
    assert torch.equal(sparsity_patterns(2, 4), SIX)


@pytest.mark.parametrize(("n", "m"), [(1, 2), (1, 4), (3, 4), (2, 8), (4, 8)])
def test_patterns_of_other_sizes(n: int, m: int) -> None:
    found = sparsity_patterns(n, m)
    assert {tuple(row.nonzero().flatten().tolist()) for row in found} == set(combinations(range(m), n))
    assert torch.equal(found.sum(1), torch.full((len(found),), float(n)))


def test_magnitude_keeps_the_largest() -> None:
    weight = random(3, 8, 2, 2)
    mask = magnitude_pattern(weight)
    assert torch.equal(per_group(mask), torch.full((3, 2, 2, 2), 2.0))
    groups = weight.unflatten(1, (2, 4)).abs().movedim(2, -1)
    best = (groups.unsqueeze(-2) * SIX).sum(-1).amax(-1)
    torch.testing.assert_close((weight * mask).abs().unflatten(1, (2, 4)).sum(2), best)


def test_of_equal_magnitudes_the_first_are_kept() -> None:
    assert magnitude_pattern(torch.tensor([[-1.0, 1, 1, 1]])).tolist() == [[1, 1, 0, 0]]
    assert magnitude_pattern(torch.zeros(1, 4)).tolist() == [[1, 1, 0, 0]]


# masks


@every_estimator.each_pathwise
@pytest.mark.parametrize("shape", [(6, 8), (3, 4, 3, 2)])
def test_two_of_four_along_the_input_dimension(estimator: every_estimator.Estimator, shape: tuple[int, ...]) -> None:
    if not estimator.categorical:
        with pytest.raises(ValueError, match="is for binary variables"):
            PatternMask(shape, estimator=estimator)
        return
    torch.manual_seed(0)
    mask = PatternMask(shape, estimator=estimator, std=1.0)
    drawn = mask.mask()
    sums = per_group(drawn)
    torch.testing.assert_close(sums, torch.full_like(sums, 2.0))
    if estimator in every_estimator.HARD:
        assert ((drawn - drawn.round()).abs() < 1e-5).all()
    drawn.square().sum().backward()
    assert mask.logits.grad is not None
    assert mask.logits.grad.abs().max() > 0
    mask.eval()
    decided = mask(torch.ones(shape))
    assert torch.equal(per_group(decided), torch.full_like(sums, 2.0))
    assert set(decided.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(decided, mask(torch.ones(shape)))
    assert not decided.requires_grad


@pytest.mark.parametrize(("n", "m"), [(1, 4), (3, 4), (4, 8)])
def test_other_sizes_of_groups(n: int, m: int) -> None:
    mask = PatternMask((5, 16), n, m).eval()
    assert (per_group(mask.mask(), m) == n).all()


def test_the_most_likely_pattern_is_deployed() -> None:
    mask = one_group(None, 1).eval()
    assert torch.equal(mask.mask()[0], SIX[LOGITS.argmax()])


def test_the_expected_mask_is_that_of_the_enumeration() -> None:
    mask = one_group(None, 1)
    expected = LOGITS.softmax(0) @ SIX
    torch.testing.assert_close(mask.probabilities()[0], expected)
    mask.scale.set(2.0)
    torch.testing.assert_close(mask.probabilities()[0], (2 * LOGITS).softmax(0) @ SIX)


@every_estimator.each_hard
def test_draws_have_the_expected_mask(estimator: every_estimator.Estimator) -> None:
    if not estimator.categorical or estimator == every_estimator.DECOUPLED:
        return
    rows = 20_000
    torch.manual_seed(1)
    mean = one_group(estimator, rows).mask().mean(0)
    expected = LOGITS.softmax(0) @ SIX
    error = (expected * (1 - expected) / rows).sqrt()
    assert ((mean - expected).abs() < 4.5 * error).all()  # once in 35,000 tests with four entries


@pytest.mark.parametrize("estimator", [StraightThrough(), Softmax(), ReinMax()], ids=repr)
def test_gradients_of_a_linear_function_have_no_bias(estimator: every_estimator.Estimator) -> None:
    rows = 40_000
    torch.manual_seed(2)
    mask = one_group(estimator, rows)
    mask(COST.expand(rows, 4)).sum().backward()
    assert mask.logits.grad is not None
    logits = LOGITS.double().requires_grad_()
    (logits.softmax(0) @ SIX.double() @ COST.double()).backward()
    assert logits.grad is not None
    error = 4.5 * mask.logits.grad.std(0) / rows**0.5 + 1e-5
    assert ((mask.logits.grad.mean(0) - logits.grad).abs() < error).all()


def test_gumbel_softmax_is_the_authors_formula() -> None:
    mask = PatternMask((3, 8), temperature=0.7, scale=4.0, std=0.5)
    noise = seeded(5)
    expected_patterns = GumbelSoftmax()(4.0 * mask.logits, 0.7, noise)
    expected = torch.stack([expected_patterns[2 * row : 2 * row + 2] @ SIX for row in range(3)]).reshape(3, 8)
    torch.testing.assert_close(mask.mask(seeded(5)), expected)


def test_a_constant_scale_is_a_factor_of_the_logits() -> None:
    one, other = PatternMask((3, 8), scale=1.0, std=0.5), PatternMask((3, 8), scale=4.0)
    other.logits.data.copy_(one.logits / 4)
    torch.testing.assert_close(one.mask(seeded(5)), other.mask(seeded(5)))


@pytest.mark.parametrize("shape", [(6, 8), (3, 4, 3, 2)])
def test_a_prior_puts_its_pattern_first(shape: tuple[int, ...]) -> None:
    weight = random(*shape)
    mask = PatternMask(shape)
    mask.set_prior(magnitude_pattern(weight), strength=3.0)
    assert set(mask.logits.unique().tolist()) == {-3.0, 0.0, 3.0}
    assert torch.equal(mask.eval()(weight), weight * magnitude_pattern(weight))
    mask.set_prior(magnitude_pattern(weight), strength=0.0)
    assert not mask.logits.any()


def test_the_bonus_is_the_expected_size_of_what_is_kept() -> None:
    mask = one_group(None, 1)
    weight = COST.view(1, 4).clone().requires_grad_()
    expected = (LOGITS.softmax(0) * (SIX * COST**2).sum(1)).sum()
    torch.testing.assert_close(mask.kept(weight), expected)
    mask.kept(weight).backward()
    assert weight.grad is None
    assert mask.logits.grad is not None
    assert mask.logits.grad[0, SIX[:, [1, 3]].sum(1).argmax()] > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_float32_logits(dtype: torch.dtype) -> None:
    mask = PatternMask((6, 8), estimator=ReinMax()).to(dtype)
    weight = random(6, 8).to(dtype)
    found = mask(weight)
    assert found.dtype == dtype
    assert mask.logits.dtype == mask.patterns.dtype == torch.float32
    found.float().sum().backward()
    assert torch.equal(per_group(mask.eval()(torch.ones_like(weight))), torch.full((6, 2), 2, dtype=dtype))


def test_autocast_does_not_round_masks() -> None:
    mask = PatternMask((6, 8), std=1.0)
    expected = mask.mask(seeded(3))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mask.mask(seeded(3)), expected)


def test_a_state_dict_makes_the_same_mask() -> None:
    mask, other = PatternMask((6, 8), temperature=2.0), PatternMask((6, 8))
    assert list(mask.state_dict()) == ["logits", "sampler.temperature.value", "scale.value"]
    other.load_state_dict(mask.state_dict())
    assert torch.equal(mask.mask(seeded(1)), other.mask(seeded(1)))
    assert torch.equal(mask.eval().mask(), other.eval().mask())


def test_the_tools_for_samples_find_the_choice() -> None:
    mask = PatternMask((6, 8))
    use_estimator(mask, ReinMax())
    assert mask.sampler.estimator == ReinMax()
    seen = []
    mask.sampler.register_forward_hook(
        lambda layer, args, out: seen.append(choices_made(layer, {"logits": args[0]}, out))
    )
    mask.mask()
    assert seen[0] is not None
    assert seen[0].chosen.shape == (12, 1)


def test_estimators_that_need_the_loss_are_refused() -> None:
    with pytest.raises(ValueError, match=r"LeaveOneOut.* needs the loss's value, and this layer only returns samples"):
        PatternMask((2, 4), estimator=LeaveOneOut(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2, 6),), r"whose in is a multiple of 4, and a weight has shape \(2, 6\): leave it out, or change m"),
        (((8,),), r"groups of m=4 weights need a weight \(out, in, ...\)"),
        (((2, 8), 4, 4), "1 <= n < m, got n=4, m=4"),
        (((2, 8), 0, 4), "1 <= n < m, got n=0, m=4"),
        (((2, 32), 8, 16), "n=8, m=16 has 12870 patterns"),
        (((2, 4), 2, 4, None, 1.0, -1.0), "must not be negative"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PatternMask(*arguments)  # type: ignore[arg-type]


def test_bad_weights_and_priors() -> None:
    mask = PatternMask((2, 4))
    with pytest.raises(ValueError, match=r"for weights of shape \(2, 4\), got \(4, 2\)"):
        mask(torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"the prior has shape \(4, 2\)"):
        mask.set_prior(torch.ones(4, 2))
    with pytest.raises(ValueError, match="strength must be 0 or positive"):
        mask.set_prior(torch.ones(2, 4), strength=-1.0)


# masks on layers


def test_masked_layers() -> None:
    module = network()
    dense = copy.deepcopy(module)
    masks = mask_linear(module)
    assert list(masks) == ["0", "2", "4"]
    assert pattern_masks(module) == masks
    assert {each.sampler.temperature for each in masks.values()} == {masks["0"].sampler.temperature}
    assert {each.scale for each in masks.values()} == {masks["0"].scale}
    trained = {name for name, each in module.named_parameters() if each.requires_grad}
    assert trained == {f"{name}.parametrizations.weight.0.logits" for name in masks}
    module(IMAGES).square().sum().backward()
    assert all(each.logits.grad is not None for each in masks.values())
    module.eval()
    assert torch.equal(module[4].weight, dense[4].weight * magnitude_pattern(dense[4].weight))
    assert torch.equal(module(IMAGES), module(IMAGES))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_removed_masks_leave_plain_layers(dtype: torch.dtype) -> None:
    module = network().to(dtype)
    dense = copy.deepcopy(module)
    masks = mask_linear(module)
    for each in masks.values():
        each.logits.data.normal_(generator=seeded(4))
    images = IMAGES.to(dtype)
    expected = module.eval()(images)
    module.train()
    assert remove_masks(module) is module
    assert torch.equal(module.eval()(images), expected)
    assert [type(each) for each in module.modules()] == [type(each) for each in dense.modules()]
    assert [name for name, _ in module.named_parameters()] == [name for name, _ in dense.named_parameters()]
    dense.load_state_dict(module.state_dict())
    assert torch.equal(dense.eval()(images), expected)
    assert (per_group((module[0].weight != 0).float()) == 2).all()
    assert not pattern_masks(module)


def test_a_masked_module_is_saved_and_copied() -> None:
    module, other = network(), network()
    mask_linear(module)
    mask_linear(other, prior=0.0)
    pattern_masks(module)["4"].logits.data.normal_(generator=seeded(4))
    other.load_state_dict(module.state_dict())
    twin = copy.deepcopy(module)
    assert torch.equal(other.eval()(IMAGES), module.eval()(IMAGES))
    assert torch.equal(twin.eval()(IMAGES), module(IMAGES))


def test_a_layer_alone_and_some_layers() -> None:
    layer = nn.Linear(8, 3)
    assert list(mask_linear(layer)) == [""]
    assert (per_group((layer.eval().weight != 0).float()) == 2).all()
    assert type(remove_masks(layer)) is nn.Linear
    module = network()
    assert list(mask_linear(module, only="4")) == ["4"]
    assert not parametrize.is_parametrized(module[0])
    assert list(mask_linear(module, only=["0", "2"])) == ["0", "2"]


def test_weights_are_trained_on_request() -> None:
    module = network()
    mask_linear(module, train_weights=True, estimator=StraightThrough())
    module(IMAGES).square().sum().backward()
    assert all(each.grad is not None for each in module.parameters())


def test_shared_numbers_are_moved_together() -> None:
    temperature, scale = Temperature(4.0), LossWeight(100.0)
    masks = mask_linear(network(), temperature=temperature, scale=scale, prior=0.03)
    temperature.set(0.05)
    scale.set(500.0)
    assert {float(each.sampler.temperature()) for each in masks.values()} == {float(temperature())}
    assert {float(each.scale()) for each in masks.values()} == {500.0}


def test_the_bonus_of_a_module() -> None:
    module = network()
    masks = mask_linear(module)
    dense = network()
    terms = [masks[name].kept(dense.get_parameter(f"{name}.weight")) for name in masks]
    torch.testing.assert_close(kept_weight_bonus(module), torch.stack(terms).sum())
    with pytest.raises(ValueError, match="Sequential has no pattern masks: mask_linear puts them there"):
        kept_weight_bonus(dense)


def test_masks_learn_which_weights_matter() -> None:
    """Small weights on large inputs: magnitude keeps the wrong ones, and 200 steps find the right ones."""
    layer = nn.Linear(8, 4, bias=False)
    x = random(256, 8) * torch.tensor([10.0, 10, 0.1, 0.1] * 2)
    layer.weight.data.copy_(random(4, 8).sign() * torch.tensor([0.2, 0.3, 1.0, 2.0] * 2))
    y = x @ layer.weight.detach().T
    masks = mask_linear(layer, estimator=ReinMax(), prior=1.0)
    optimizer = torch.optim.Adam([each.logits for each in masks.values()], lr=0.1)
    torch.manual_seed(0)
    for _ in range(200):
        optimizer.zero_grad()
        (layer(x) - y).square().mean().backward()
        optimizer.step()
    assert torch.equal(
        remove_masks(layer.eval()).weight != 0, torch.tensor([True, True, False, False] * 2).expand(4, 8)
    )


def test_what_takes_no_masks() -> None:
    with pytest.raises(ValueError, match=r"nothing in Sequential matches only=head: it has 0, 2, 4"):
        mask_linear(network(), only="head")
    with pytest.raises(ValueError, match="it has no Linear or convolution"):
        mask_linear(nn.Tanh())
    module = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    with pytest.raises(ValueError, match=r"a multiple of 4, and the weight of Linear '1' has shape \(4, 6\)"):
        mask_linear(module)
    assert not parametrize.is_parametrized(module[0])
    assert all(each.requires_grad for each in module.parameters())
    with pytest.raises(ValueError, match="Sequential has no pattern masks to remove"):
        remove_masks(module)
    mask_linear(module, only="0")
    with pytest.raises(ValueError, match="the weight of '0' is parametrized already: remove_masks first"):
        mask_linear(module, only="0")
    tied = nn.ModuleDict({"embedding": nn.Embedding(12, 8), "head": nn.Linear(8, 12)})
    tied["head"].weight = tied["embedding"].weight
    with pytest.raises(ValueError, match="the weight of Linear 'head' is shared"):
        mask_linear(tied)


def test_other_parametrizations_on_top_are_said() -> None:
    layer = nn.Linear(8, 4)
    mask_linear(layer)
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    with pytest.raises(ValueError, match="has further parametrizations: remove them first"):
        remove_masks(layer)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
def test_one_compiled_graph() -> None:
    torch._dynamo.reset()
    mask, weight = PatternMask((6, 8), estimator=StraightThrough()), random(6, 8)
    compiled = torch.compile(mask, fullgraph=True, backend="aot_eager")
    compiled(weight).square().sum().backward()
    assert mask.logits.grad is not None
    assert mask.logits.grad.abs().max() > 0
    mask.eval()
    assert torch.equal(compiled(weight), mask(weight))


def test_the_sampler_is_a_relaxed_layer() -> None:
    assert isinstance(PatternMask((2, 4)).sampler, RelaxedCategorical)
