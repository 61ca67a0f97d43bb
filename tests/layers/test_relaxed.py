import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from discrete_lightning.estimators import IMLE, Estimator, GumbelSoftmax, StraightThrough
from discrete_lightning.nn import (
    GumbelQuantizer,
    LargeGumbelQuantizer,
    Quantizer,
    Relaxed,
    RelaxedBernoulli,
    RelaxedCategorical,
    RelaxedSubset,
    ResidualQuantizer,
    Temperature,
    VectorQuantizer,
    relaxed,
    use_estimator,
)
from tests.references.every_estimator import FIXED_TAU, each_pathwise
from tests.references.goodness_of_fit import chi_square_p

KINDS = [RelaxedCategorical, RelaxedBernoulli]
each_kind = pytest.mark.parametrize("kind", KINDS)


def some_logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def draw(estimator: Estimator, kind: type[Relaxed], logits: Tensor, tau: float | Tensor) -> Tensor:
    return estimator.bernoulli(logits, tau) if kind is RelaxedBernoulli else estimator(logits, tau)


@each_kind
@each_pathwise
@pytest.mark.parametrize("learnable", [False, True])
def test_training_is_the_estimator_and_its_gradient(kind: type[Relaxed], estimator: Estimator, learnable: bool) -> None:
    layer = kind(estimator, Temperature(0.7, learnable=learnable))
    logits, cost = some_logits(3, 4, 5), some_logits(3, 4, 5, seed=1).detach()
    inputs = [logits, *layer.parameters()]
    assert len(inputs) == 1 + learnable
    torch.manual_seed(2)
    expected = draw(estimator, kind, logits, layer.temperature())
    torch.manual_seed(2)
    sample = layer(logits)
    assert torch.equal(sample, expected)
    gradients = [
        torch.autograd.grad((value * cost).exp().sum(), inputs, allow_unused=True) for value in (sample, expected)
    ]
    for got, wanted in zip(*gradients, strict=True):
        if got is None:  # of a temperature that the estimator does not use in its backward pass
            assert wanted is None
            assert estimator in FIXED_TAU
            continue
        assert torch.equal(got, wanted)
        assert got.abs().sum() > 0


@each_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("training", [True, False])
def test_shape_and_dtype_follow_the_logits(kind: type[Relaxed], dtype: torch.dtype, training: bool) -> None:
    logits = some_logits(2, 3, 4).to(dtype)
    sample = kind(GumbelSoftmax()).train(training)(logits)
    assert sample.shape == logits.shape
    assert sample.dtype == dtype


@each_kind
@pytest.mark.parametrize("evaluation", ["mode", "draw"])
def test_noise_comes_from_the_generator(kind: type[Relaxed], evaluation: str) -> None:
    layer, logits = kind(evaluation=evaluation), some_logits(50, 4)  # type: ignore[arg-type]
    for training in (True, False):
        layer.train(training)
        state = torch.get_rng_state()
        first, again = (layer(logits, torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(first, again)
        assert torch.equal(torch.get_rng_state(), state)
        if training or evaluation == "draw":
            assert not torch.equal(first, layer(logits, torch.Generator().manual_seed(4)))


@pytest.mark.parametrize(
    ("layer", "logits", "mode"),
    [
        (RelaxedCategorical(), [[0.1, 2.0, -1.0], [3.0, 2.0, 1.0]], [[0, 1, 0], [1, 0, 0]]),
        (RelaxedCategorical(), [-torch.inf, -5.0, -torch.inf], [0, 1, 0]),
        (RelaxedBernoulli(), [0.1, -2.0, torch.inf, -torch.inf, 0.0], [1, 0, 1, 0, 0]),
    ],
)
def test_evaluation_is_the_mode(layer: Relaxed, logits: list[float], mode: list[int]) -> None:
    x = torch.tensor(logits, requires_grad=True)
    state = torch.get_rng_state()
    samples = [layer.eval()(x) for _ in range(3)]
    assert all(torch.equal(sample, torch.tensor(mode).float()) for sample in samples)
    assert not samples[0].requires_grad
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("tau", [0.05, 1.0, 20.0])
@pytest.mark.parametrize(
    ("kind", "logits"),
    [(RelaxedCategorical, [2.0, 0.0, -1.0, -3.0, -torch.inf]), (RelaxedBernoulli, [1.5]), (RelaxedBernoulli, [-3.0])],
)
def test_evaluation_draws_are_exact(kind: type[Relaxed], logits: list[float], tau: float) -> None:
    torch.manual_seed(5)
    count, x = 20_000, torch.tensor(logits)
    sample = kind(temperature=tau, evaluation="draw").eval()(x.expand(count, -1))
    assert set(sample.unique().tolist()) == {0.0, 1.0}
    drawn, p = sample.sum(0), x.sigmoid() if kind is RelaxedBernoulli else x.softmax(0)
    if kind is RelaxedBernoulli:
        drawn, p = torch.cat([drawn, count - drawn]), torch.cat([p, 1 - p])
    assert drawn.sum() == count
    assert chi_square_p(drawn, p) > 1e-4


@each_kind
def test_relaxed_is_for_a_while_and_leaves_no_trace(kind: type[Relaxed]) -> None:
    model = nn.Sequential(kind(GumbelSoftmax()), nn.Dropout(), kind(GumbelSoftmax()))
    model.eval()
    model[2].train()
    modes = [module.training for module in model.modules()]
    logits = some_logits(20, 4)
    torch.manual_seed(6)
    torch.rand(3)
    state, outputs = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        with relaxed(model, seed=seed):
            assert model[0].training
            assert model[2].training
            assert not model[1].training
            outputs.append(model[0](logits))
            torch.rand(7)
        assert [module.training for module in model.modules()] == modes
        assert torch.equal(torch.get_rng_state(), state)
    assert ((outputs[0] > 0) & (outputs[0] < 1)).any()
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert set(model[0](logits).unique().tolist()) == {0.0, 1.0}


def test_relaxed_ends_with_an_error_too() -> None:
    def fail() -> None:
        torch.rand(3)
        raise KeyError

    layer = RelaxedCategorical().eval()
    state = torch.get_rng_state()
    with pytest.raises(KeyError), relaxed(layer):
        fail()
    assert not layer.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "make", [lambda: GumbelQuantizer(8, 4, GumbelSoftmax()), lambda: LargeGumbelQuantizer(8, 4, hard=False)]
)
def test_relaxed_reaches_a_quantizer(make: Callable[[], Quantizer]) -> None:
    quantizer, vectors = ResidualQuantizer(make(), 1).eval(), some_logits(30, 4)
    code = quantizer(vectors).quantized
    with relaxed(quantizer):
        assert not quantizer.training
        mixture = quantizer(vectors).quantized
    assert not torch.allclose(mixture, code)
    assert torch.equal(quantizer(vectors).quantized, code)


def test_use_estimator_reaches_all_layers() -> None:
    model = nn.Sequential(RelaxedCategorical(), nn.Sequential(RelaxedBernoulli()), GumbelQuantizer(4, 2))
    use_estimator(model, StraightThrough())
    found = [layer.estimator for layer in model.modules() if isinstance(layer, Relaxed)]
    assert found == [StraightThrough()] * 3


@pytest.mark.parametrize("module", [nn.Linear(1, 1), VectorQuantizer(4, 2)])
def test_use_estimator_where_nothing_samples(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=rf"{type(module).__name__} has no layer that samples.*StraightThrough"):
        use_estimator(module, StraightThrough())


@each_kind
@each_pathwise
def test_expectation(kind: type[Relaxed], estimator: Estimator) -> None:
    layer, logits, cost = kind(estimator, 0.7), some_logits(6, 4), torch.arange(4.0)

    def loss(sample: Tensor) -> Tensor:
        return (sample * cost).sum(-1).square()

    torch.manual_seed(7)
    expected = estimator.expectation(loss, logits, layer.temperature(), binary=kind is RelaxedBernoulli)
    torch.manual_seed(7)
    got = layer.expectation(loss, logits)
    assert got.shape == (6,)
    assert torch.equal(got, expected)
    gradients = [torch.autograd.grad(values.sum(), logits)[0] for values in (got, expected)]
    assert torch.equal(*gradients)
    assert gradients[0].abs().sum() > 0 or isinstance(estimator, IMLE)  # whose target may be the draw itself
    layer.eval()
    assert torch.equal(layer.expectation(loss, logits), loss(layer(logits)))


@each_kind
@pytest.mark.parametrize(
    ("evaluation", "training"), [("mode", True), ("draw", False), ("mode", False)], ids=["training", "draw", "mode"]
)
def test_nan_logits(kind: type[Relaxed], evaluation: str, training: bool) -> None:
    layer = kind(evaluation=evaluation).train(training)  # type: ignore[arg-type]
    logits = torch.zeros(3, 4)
    logits[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"(?i)nan"):
        layer(logits)


def test_masked_throughout() -> None:
    for training in (True, False):
        with pytest.raises(ValueError, match="every category masked"):
            RelaxedCategorical(evaluation="draw").train(training)(torch.full((2, 3), -torch.inf))


@each_kind
def test_unknown_evaluation(kind: type[Relaxed]) -> None:
    with pytest.raises(ValueError, match="'mode' or 'draw', got 'argmax'"):
        kind(evaluation="argmax")  # type: ignore[arg-type]


@each_kind
def test_a_temperature_is_shared_or_made(kind: type[Relaxed]) -> None:
    shared = Temperature(0.3)
    assert kind(temperature=shared).temperature is shared
    assert kind(temperature=0.25).temperature().item() == 0.25


@each_kind
def test_pickle_and_repr(kind: type[Relaxed]) -> None:
    layer = kind(GumbelSoftmax(), 0.5, "draw")
    twin = pickle.loads(pickle.dumps(layer))
    assert str(twin) == str(layer)
    assert "estimator=GumbelSoftmax(), evaluation='draw'" in str(layer)
    assert twin.estimator == layer.estimator
    assert twin.evaluation == "draw"


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
def test_compiles_once_for_all_temperatures() -> None:
    layer, logits, counter = RelaxedCategorical(), some_logits(4, 3), CompileCounter()
    torch._dynamo.reset()
    compiled, counts = torch.compile(layer, backend=counter), []
    for step in range(20):
        layer.temperature.set(1.0 - step / 25)
        compiled(logits).sum().backward()
        counts.append(counter.frame_count)
    assert counts[0] > 0
    assert counts[-1] == counts[0]


@pytest.mark.parametrize("evaluation", ["mode", "draw"])
@pytest.mark.parametrize("make", [RelaxedCategorical, RelaxedBernoulli, lambda **options: RelaxedSubset(2, **options)])
def test_evaluation_is_exported_with_any_batch(make: Callable[..., Relaxed], evaluation: str) -> None:
    layer = make(evaluation=evaluation).eval()
    program = torch.export.export(
        layer, (some_logits(3, 5),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    ).module()
    for batch in (1, 8):
        logits = some_logits(batch, 5)
        found = program(logits)
        assert found.unique().tolist() in ([0, 1], [0], [1])
        if evaluation == "mode":
            assert torch.equal(found, layer(logits))
        elif not layer.binary:
            assert (found.sum(-1) == (layer.k or 1)).all()
