"""Sampled codebooks: logits, samples, gradients and losses against naive references, of both forms of logits."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.estimators import (
    Estimator,
    GumbelSoftmax,
    ReinMax,
    StraightThrough,
    StraightThroughGumbel,
)
from discrete_lightning.functional import gumbel_lookup
from discrete_lightning.losses import EntropyBonus
from discrete_lightning.nn import (
    GumbelQuantizer,
    LearnedVectorQuantizer,
    LinearGumbelQuantizer,
    Temperature,
    VectorQuantizer,
    update_codebooks_after_step,
)
from discrete_lightning.vq.functional import commitment_loss
from discrete_lightning.vq.quantizers.sampled import SampledCodebook
from tests.references.goodness_of_fit import chi_square_p

FORMS: dict[str, Callable[..., SampledCodebook]] = {"distances": GumbelQuantizer, "linear": LinearGumbelQuantizer}
ESTIMATORS = [GumbelSoftmax(), StraightThroughGumbel(), StraightThrough(), ReinMax()]
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
each_form = pytest.mark.parametrize("form", FORMS)


def quantizer(
    form: str = "distances", num_codes: int = 6, dim: int = 4, estimator: Estimator | None = None,
    temperature: Temperature | float = 0.8, **options: Any,
) -> SampledCodebook:  # fmt: skip
    """One that has started, of no great certainty."""
    torch.manual_seed(0)
    if form == "distances":
        options = {"sharpness": 1.5, **options}
    layer = FORMS[form](num_codes, dim, estimator, temperature, **options)
    if isinstance(layer, GumbelQuantizer):
        layer.set_codes(layer.codes.detach().clone())
        layer.nearest_distance.fill_(0.7)
    return layer


def some_vectors(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).requires_grad_()


def naive_logits(layer: SampledCodebook, vectors: Tensor) -> Tensor:
    """Up to a constant of each vector."""
    if isinstance(layer, LinearGumbelQuantizer):
        return vectors @ layer.to_logits.weight.T + layer.to_logits.bias
    assert isinstance(layer, GumbelQuantizer)
    squared = (vectors.unsqueeze(-2) - layer.codes).square().sum(-1)
    return -layer.sharpness / layer.nearest_distance * squared


def naive_sample(layer: SampledCodebook, vectors: Tensor, estimator: Estimator) -> Tensor:
    """The codes of a sample; with Gumbel noise it is drawn as the layer draws it."""
    tau = layer.sample.temperature()
    if isinstance(estimator, GumbelSoftmax | StraightThroughGumbel):
        # the constant of a vector changes no sample; it is taken here as a product of vectors of one more dimension
        logits = naive_logits(layer, vectors)
        eye = torch.eye(layer.num_codes)
        return gumbel_lookup(
            logits,
            eye,
            torch.zeros(layer.num_codes),
            layer.codes,
            tau,
            hard=isinstance(estimator, StraightThroughGumbel),
        ).quantized
    return estimator(naive_logits(layer, vectors), tau) @ layer.codes


@each_form
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 5, 4), (0, 4)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shapes_and_dtypes(form: str, shape: tuple[int, ...], training: bool, dtype: torch.dtype) -> None:
    result = quantizer(form).train(training).to(dtype)(some_vectors(*shape).to(dtype))
    assert result.quantized.shape == shape
    assert result.quantized.dtype == dtype
    assert result.indices.shape == shape[:-1]
    assert result.indices.dtype == torch.int64
    assert result.logits.shape == (*shape[:-1], 6)
    assert result.logits.dtype == torch.float32
    assert result.loss.shape == ()
    assert result.loss.dtype == torch.float32
    assert (result.loss > 0) == (form == "distances" and 0 not in shape)


@each_form
def test_evaluation_looks_up_the_most_likely_code(form: str) -> None:
    layer, vectors = quantizer(form).eval(), some_vectors(50, 4)
    state = torch.get_rng_state()
    result = layer(vectors)
    expected = naive_logits(layer, vectors).argmax(-1)
    assert torch.equal(result.indices, expected)
    assert len(expected.unique()) > 3
    assert torch.equal(result.quantized, layer.codes[expected])
    assert torch.equal(layer.decode(expected), layer.codes[expected])
    assert torch.equal(torch.get_rng_state(), state)


@each_form
def test_logits(form: str) -> None:
    """Those of the naive formula, in float64, up to a constant of each vector; far from the origin, too."""
    layer, vectors = quantizer(form), some_vectors(50, 4).detach()
    if form == "distances":
        layer.set_codes(layer.codes.detach() + 300)
        layer.nearest_distance.fill_(0.7)
        vectors = vectors + 300
    layer.double()
    expected = naive_logits(layer, vectors.double()).log_softmax(-1).float()
    for training in (True, False):
        found = layer.train(training)(vectors).logits.log_softmax(-1)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3)


@each_form
@each_estimator
@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("straight_through", [0.0, 0.6])
def test_gradient_is_the_estimators_and_the_straight_through_one(
    form: str, estimator: Estimator, learnable: bool, straight_through: float
) -> None:
    options = {"straight_through": straight_through} if form == "distances" else {}
    weight = options.get("straight_through", 0.0)
    learnable = learnable and estimator != ReinMax()  # which gives tau no gradient
    layer = quantizer(form, estimator=estimator, temperature=Temperature(0.8, learnable=learnable), **options)
    vectors, target = some_vectors(7, 4), torch.ones(4)
    leaves = [vectors, *layer.parameters()]
    assert len(leaves) == (4 if form == "linear" else 2) + learnable

    def gradients(quantized: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((quantized - target).square().sum(), leaves)

    torch.manual_seed(2)
    result = layer(vectors)
    torch.manual_seed(2)
    expected = naive_sample(layer, vectors, estimator)
    torch.testing.assert_close(result.quantized, expected)
    slopes = 2 * (expected - target).detach()
    for number, (got, wanted) in enumerate(zip(gradients(result.quantized), gradients(expected), strict=True)):
        torch.testing.assert_close(got, wanted if number else wanted + weight * slopes, rtol=1e-4, atol=1e-5)
        assert wanted.abs().sum() > 0


@each_form
@pytest.mark.parametrize("estimator", ESTIMATORS[1:], ids=str)
def test_temperature_changes_the_gradient_and_not_the_choice(form: str, estimator: Estimator) -> None:
    layer, vectors = quantizer(form, estimator=estimator), some_vectors(200, 4)
    results, gradients = [], []
    for tau in (0.1, 5.0):
        layer.sample.temperature.set(tau)
        torch.manual_seed(3)
        results.append(layer(vectors))
        gradients.append(torch.autograd.grad(results[-1].quantized.square().sum(), vectors)[0])
        layer.drop_pending()  # no optimiser will apply it
    assert torch.equal(results[0].indices, results[1].indices)
    assert len(results[0].indices.unique()) == 6
    assert torch.equal(results[0].quantized, results[1].quantized)
    assert not torch.allclose(*gradients)


@each_form
@pytest.mark.parametrize("tau", [0.1, 1.0, 10.0])
def test_training_samples_the_distribution_of_the_logits(form: str, tau: float) -> None:
    layer, count = quantizer(form, temperature=tau), 20_000
    torch.manual_seed(4)
    result = layer(some_vectors(4).expand(count, 4))
    assert chi_square_p(result.indices.bincount(minlength=6), result.logits[0].detach().softmax(-1)) > 1e-4


@each_form
@each_estimator
@pytest.mark.parametrize("tau", [0.5, 10.0])
@pytest.mark.parametrize("precision", ["autocast", "module"])
def test_bf16_chooses_as_float32_does(form: str, estimator: Estimator, tau: float, precision: str) -> None:
    layer, vectors = quantizer(form, 64, 8, estimator, tau), some_vectors(2000, 8)
    if precision == "module":
        layer, vectors = layer.bfloat16(), vectors.bfloat16()
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        result = layer(vectors)
    assert result.quantized.dtype == vectors.dtype
    torch.manual_seed(5)
    expected = layer(vectors.float())
    assert torch.equal(result.logits, expected.logits)
    assert torch.equal(result.indices, expected.indices)


@pytest.mark.parametrize("estimator", [StraightThroughGumbel(), ReinMax()], ids=str)
@pytest.mark.parametrize("learnable", [True, False])
def test_the_loss(estimator: Estimator, learnable: bool) -> None:
    """Commitment to the codes that were chosen, and the bonuses, of softmax(logits / tau) if tau is learned; gradients too.

    With a learned tau, undecided choices move nothing else.
    """
    layer = quantizer(
        estimator=estimator, temperature=Temperature(0.8, learnable=learnable), commitment=0.3, choice_entropy=0.2,
        marginal_entropy=0.7,
    )  # fmt: skip
    vectors = some_vectors(30, 4)
    result = layer(vectors)
    tau = layer.sample.temperature() if learnable else 1.0
    logits = naive_logits(layer, vectors)
    expected = EntropyBonus(marginal=0.7)(logits, tau)
    expected = expected + EntropyBonus(choice=0.2)(logits.detach() if learnable else logits, tau)
    expected = expected + 0.3 * commitment_loss(vectors, layer.codes[result.indices])
    leaves = [vectors, *layer.parameters()]
    torch.testing.assert_close(result.loss, expected)
    found, wanted = (torch.autograd.grad(each, leaves) for each in (result.loss, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_more_codes_than_logits_are_returned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same samples, gradients and loss, without logits."""
    small = quantizer(marginal_entropy=0.1)
    monkeypatch.setattr("discrete_lightning.vq.quantizers.sampled._MOST_LOGITS", 5)
    large = quantizer(marginal_entropy=0.1)
    assert small.has_logits
    assert not large.has_logits
    results, gradients = [], []
    for layer in (small, large):
        vectors = some_vectors(40, 4)
        torch.manual_seed(6)
        results.append(layer(vectors))
        loss = results[-1].quantized.square().sum() + results[-1].loss
        gradients.append(torch.autograd.grad(loss, [vectors, *layer.parameters()]))
    assert results[1].logits is None
    assert torch.equal(results[0].indices, results[1].indices)
    torch.testing.assert_close(results[0][:3], results[1][:3])
    torch.testing.assert_close(*gradients)
    vectors = some_vectors(40, 4)
    assert torch.equal(small.eval()(vectors).indices, large.eval()(vectors).indices)


def trained(layer: SampledCodebook | LearnedVectorQuantizer | VectorQuantizer, steps: int = 60, rate: float = 1e-2, tau: Callable[[int], float] | None = None, weight: float = 1.0) -> float:  # fmt: skip  # noqa: E501
    """The error of an autoencoder of one layer on clusters after some steps, in which it has this weight in the loss."""
    torch.manual_seed(7)
    encoder, decoder = nn.Linear(6, layer.dim), nn.Linear(layer.dim, 6)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), *layer.parameters()], rate)
    centres = torch.randn(16, 6)
    for step in range(steps):
        if tau is not None:
            layer.sample.temperature.set(tau(step))  # type: ignore[union-attr]
        batch = centres[torch.randint(16, (256,))] + 0.1 * torch.randn(256, 6)
        result = layer(encoder(batch))
        loss = weight * (decoder(result.quantized) - batch).square().mean() + result.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    layer.eval()
    with torch.no_grad():
        return float((decoder(layer(encoder(centres)).quantized) - centres).square().mean())


@pytest.mark.parametrize(
    "tau", [lambda step: 4.0, lambda step: max(0.25, 4.0 * 0.95**step)], ids=["constant", "annealed"]
)
def test_no_scale_undoes_the_temperature(tau: Callable[[int], float]) -> None:
    """The scale is what the distances make it, whatever tau does, and no gradient reaches it."""
    layer = GumbelQuantizer(16, 4)
    trained(layer, tau=tau)
    assert all(name in ("codes",) for name, _ in layer.named_parameters())
    torch.testing.assert_close(layer.scale * layer.nearest_distance, torch.tensor(16.0))
    vectors = torch.randn(512, 4)
    nearest = torch.cdist(vectors, layer.codes.detach()).square().amin(-1)
    logits = layer(vectors).logits.detach()
    below = -(logits - logits.amax(-1, keepdim=True)) / layer.scale + nearest.unsqueeze(-1)
    torch.testing.assert_close(below, torch.cdist(vectors, layer.codes.detach()).square(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("estimator", [StraightThroughGumbel(), GumbelSoftmax()], ids=str)
def test_a_larger_bonus_gives_a_higher_learned_temperature(estimator: Estimator) -> None:
    """And neither worse codes nor a larger scale, which would undo it."""
    temperatures, errors, scales = [], [], []
    for bonus in (0.0, 0.01, 1.0):
        temperature = Temperature(4.0, 0.1, learnable=True)
        layer = GumbelQuantizer(16, 4, estimator, temperature, choice_entropy=bonus)
        errors.append(trained(layer, steps=200))
        temperatures.append(temperature().item())
        scales.append(layer.scale.item())
    assert 4 < temperatures[0] < temperatures[1] < temperatures[2]
    assert max(errors[1:]) < 1.3 * errors[0]
    assert max(scales[1:]) < 1.5 * scales[0]


def test_distances_do_not_depend_on_the_size_of_vectors() -> None:
    """Ten times the vectors: the same choices, and the same probabilities."""
    results = []
    for size in (1.0, 10.0):
        torch.manual_seed(8)
        layer = GumbelQuantizer(8, 4)
        results.append(layer(size * some_vectors(200, 4)))
    assert torch.equal(results[0].indices, results[1].indices)
    torch.testing.assert_close(*(each.logits.log_softmax(-1) for each in results), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("make", [GumbelQuantizer, LearnedVectorQuantizer])
@pytest.mark.parametrize("rate", [1e-3, 1e-2])
@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_no_flag_is_needed(make: Callable[[int, int], Any], rate: float, weight: float) -> None:
    """At other learning rates and sizes of the loss: live codes, and an error near that of moving averages."""
    layer, reference = make(16, 4), VectorQuantizer(16, 4)
    error, expected = (trained(each, 150, rate, weight=weight) for each in (layer, reference))
    assert int(layer.updates) == 150
    assert (layer.counts > 0.1 * layer.counts.mean()).float().mean() >= 0.95
    assert error < 1.2 * expected


def test_codes_have_a_rate_of_their_own() -> None:
    """Ten times the way that the optimiser goes; with code_rate=1 its way."""
    moved = []
    for code_rate in (1.0, 10.0):
        layer = quantizer(code_rate=code_rate, follow=0.0, revive_below=0.0)
        before = layer.codes.detach().clone()
        optimizer = torch.optim.Adam(layer.parameters(), 1e-3)
        torch.manual_seed(10)
        result = layer(some_vectors(64, 4).detach())
        (result.quantized.square().sum() + result.loss).backward()
        optimizer.step()
        moved.append(layer.codes.detach() - before)
    torch.testing.assert_close(moved[1], 10 * moved[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(moved[0].abs().max(), torch.tensor(1e-3), rtol=1e-3, atol=1e-6)


def test_codes_written_between_steps_go_no_further() -> None:
    layer = quantizer(revive_below=0.0, follow=0.0)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    for _ in range(2):
        layer(some_vectors(64, 4)).quantized.sum().backward()
        optimizer.step()
    table = torch.randn(6, 4)
    layer.codes.data.copy_(table)
    layer(some_vectors(64, 4)).quantized.sum().backward()
    optimizer.step()
    assert torch.equal(layer.codes, table)


def test_learned_codes_follow_their_vectors_at_any_rate() -> None:
    """Without any step of the optimiser: share follow * n / N of the way to the mean of the vectors that chose a code."""
    layer = LearnedVectorQuantizer(6, 4, follow=0.5, revive_below=0.0)
    table = torch.randn(6, 4, generator=torch.Generator().manual_seed(11))
    layer.set_codes(table)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    vectors = some_vectors(100, 4).detach()
    chosen = torch.cdist(vectors, table).argmin(-1)
    layer(vectors).loss.backward()
    optimizer.step()
    counts = chosen.bincount(minlength=6).float()
    averaged = 0.9 * 100 / 6 + 0.1 * counts  # a table that was set counts as used evenly
    share = (0.5 * counts / averaged).clamp_max(1).unsqueeze(1)
    means = torch.stack([vectors[chosen == k].mean(0) if counts[k] else table[k] for k in range(6)])
    torch.testing.assert_close(layer.codes.detach(), table + share * (means - table))


def test_an_optimiser_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that are parameters change after the step: that is no other optimiser's work."""
    looked = []
    find = "discrete_lightning.layers.own_steps.find_owning_optimizers"
    from discrete_lightning.layers.owning_optimizers import find_owning_optimizers

    monkeypatch.setattr(find, lambda *a, **k: looked.append(1) or find_owning_optimizers(*a, **k))
    for make in (GumbelQuantizer, LearnedVectorQuantizer):
        looked.clear()
        trained(make(16, 4), steps=5)
        assert len(looked) == 1


def test_the_linear_form_starts_where_the_distances_are() -> None:
    layer, vectors = LinearGumbelQuantizer(8, 4, kmeans_iterations=10), some_vectors(500, 4)
    layer(vectors)
    assert layer.started
    nearest = torch.cdist(vectors.detach(), layer.codes.detach()).argmin(-1)
    assert torch.equal(layer.eval()(vectors).indices, nearest)


def test_a_checkpoint_of_the_linear_form() -> None:
    state = LinearGumbelQuantizer(6, 4).state_dict()
    with pytest.raises(RuntimeError, match="LinearGumbelQuantizer now"):
        GumbelQuantizer(6, 4).load_state_dict(state)


def test_a_checkpoint_of_the_former_gumbel_quantizer() -> None:
    """Which had the linear form, and neither bonuses nor a start."""
    layer = LinearGumbelQuantizer(6, 4)
    names = ("codes", "to_logits.weight", "to_logits.bias", "sample.temperature.value")
    state = {name: value for name, value in layer.state_dict().items() if name in names}
    twin = LinearGumbelQuantizer(6, 4, kmeans_iterations=10)
    twin.load_state_dict(state)
    assert twin.started  # trained codes are kept
    twin(some_vectors(50, 4))
    assert torch.equal(twin.codes, layer.codes)


def test_the_linear_form_is_not_updated_after_its_start() -> None:
    layer = LinearGumbelQuantizer(16, 4, kmeans_iterations=10)
    assert layer.is_updated
    trained(layer, steps=5)
    assert not layer.is_updated
    assert not update_codebooks_after_step(layer, torch.optim.SGD(layer.parameters())).layers


def test_a_resumed_layer_keeps_its_scale_and_its_codes() -> None:
    layer = GumbelQuantizer(16, 4)
    trained(layer, steps=5)
    twin = GumbelQuantizer(16, 4)
    twin.load_state_dict(copy.deepcopy(layer.state_dict()))
    codes, distance = twin.codes.detach().clone(), twin.nearest_distance.clone()
    assert distance > 0
    twin.train()(10 * some_vectors(100, 4))
    assert torch.equal(twin.codes, codes)
    assert torch.equal(twin.nearest_distance, distance)


@each_form
@pytest.mark.parametrize("shape", [(4, 5), (3,)])
def test_wrong_dimension(form: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"dimension 4, last; got shape \({shape[0]}.*movedim"):
        quantizer(form)(torch.zeros(shape))


@pytest.mark.parametrize(("num_codes", "dim"), [(1, 4), (0, 4), (4, 0)])
def test_too_small(num_codes: int, dim: int) -> None:
    with pytest.raises(ValueError, match=f"num_codes={num_codes}, dim={dim}"):
        GumbelQuantizer(num_codes, dim)


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ({"sharpness": 0.0}, "sharpness must be > 0, got 0.0"),
        ({"sharpness": float("inf")}, "sharpness must be > 0"),
        ({"commitment": -1.0}, "commitment must be >= 0"),
        ({"straight_through": -0.1}, "straight_through must be >= 0"),
        ({"code_rate": 0.5}, "code_rate must be >= 1"),
        ({"follow": 1.5}, r"follow must be in \[0, 1\]"),
        ({"revive_below": 1.0}, r"revive_below must be in \[0, 1\)"),
        ({"kmeans_iterations": -1}, "kmeans_iterations must be >= 0"),
    ],
)
def test_out_of_range(option: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=f"GumbelQuantizer: {rule}"):
        GumbelQuantizer(4, 2, **option)


@each_form
def test_nan_vectors(form: str) -> None:
    with pytest.raises(ValueError, match=r"GumbelQuantizer: 1 of 2 vectors .* not finite"):
        quantizer(form)(torch.tensor([[0.0] * 4, [torch.nan] * 4]))


@each_form
def test_evaluation_is_exported_with_any_batch(form: str) -> None:
    layer = quantizer(form).eval()
    example = (some_vectors(3, 5, 4).detach(),)
    program = torch.export.export(layer, example, dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for batch in (1, 8):
        vectors = some_vectors(batch, 5, 4).detach()
        quantized, indices, *_ = program(vectors)
        expected = layer(vectors)
        assert torch.equal(quantized, expected.quantized)
        assert torch.equal(indices, expected.indices)
