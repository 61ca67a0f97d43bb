"""A codebook's update belongs to it: once per step of the optimiser that trains what it quantises, whatever else happens."""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.layers.owning_optimizers import living_optimizers, owning_optimizers, trained_leaves
from discrete_lightning.nn import (
    LearnedVectorQuantizer,
    ResidualQuantizer,
    VectorQuantizer,
    update_codebooks_after_step,
)
from tests.vq.quantizers.makers import ALL, some_vectors
from tests.vq.quantizers.updated_model import FEW, STEPS, UPDATED, Model, assert_equal, state

every = pytest.mark.parametrize("name", UPDATED)
few = pytest.mark.parametrize("name", FEW)


def train(model: Model, disturb: Callable[[Model, int], None] = lambda model, step: None) -> dict[str, Tensor]:
    """A plain loop; `disturb` is called between the backward pass and the step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(STEPS):
        optimizer.zero_grad()
        model(some_vectors(40, 3, seed=step)).backward()
        disturb(model, step)
        optimizer.step()
        assert model.updates() == {step + 1}  # at once, with no further pass
    return state(model)


def another_model_steps(model: Model, step: int) -> None:
    other = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(other.parameters())
    other(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert model.updates() == {step}


def a_copy_is_made_trained_and_dropped(model: Model, step: int) -> None:
    for make in (copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))):
        twin = make(model)
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
        for seed in range(2):
            optimizer.zero_grad()
            twin(some_vectors(30, 3, seed=100 + seed)).backward()
            optimizer.step()
        assert twin.updates() == {step + 2}
        assert model.updates() == {step}


def copies_are_dropped_between_pass_and_step(model: Model, step: int) -> None:
    twin = copy.deepcopy(model)
    twin.cycle = [twin]  # as a trainer and its module hold each other
    twin(some_vectors(30, 3, seed=50)).backward()
    del twin
    if step % 2:
        gc.collect()
    assert model.updates() == {step}


def the_state_is_read(model: Model, step: int) -> None:
    state(model)
    for each in model.codebooks():
        assert each.codes.isfinite().all()
    repr(model)
    assert model.updates() == {step}


DISTURBANCES = [
    another_model_steps, a_copy_is_made_trained_and_dropped, copies_are_dropped_between_pass_and_step, the_state_is_read,
]  # fmt: skip


@few
@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda each: each.__name__)
def test_what_does_not_touch_it(name: str, disturb: Callable[[Model, int], None]) -> None:
    alone = train(Model(ALL[name]))

    def leaving_the_noise(model: Model, step: int) -> None:
        before = torch.get_rng_state()
        disturb(model, step)
        torch.set_rng_state(before)

    assert_equal(train(Model(ALL[name]), leaving_the_noise), alone)


@few
@pytest.mark.parametrize("bound", [False, True])
def test_a_discriminator_that_steps_four_times_as_often(name: str, bound: bool) -> None:
    def fit(times: int) -> dict[str, Tensor]:
        model = Model(ALL[name])
        discriminator = nn.Linear(model.quantizer.dim, 1)
        ours = torch.optim.Adam(model.parameters(), lr=0.01)
        theirs = torch.optim.Adam(discriminator.parameters(), lr=0.01)
        if bound:
            update_codebooks_after_step(model, theirs, ours)
        for step in range(STEPS):
            x = some_vectors(40, 3, seed=step)
            vectors = model.encoder(x)
            result = model.quantizer(vectors)
            for _ in range(times):
                theirs.zero_grad()
                discriminator(result.quantized.detach()).square().mean().backward()
                theirs.step()
            ours.zero_grad()
            (result.quantized.square().mean() + result.loss).backward()
            ours.step()
            for _ in range(times):
                theirs.zero_grad()
                discriminator(result.quantized.detach()).square().mean().backward()
                theirs.step()
            assert model.updates() == {step + 1}
        return state(model)

    torch.manual_seed(0)
    assert_equal(fit(4), fit(0))


@every
@pytest.mark.parametrize("loss", ["both", "quantized", "loss"])
def test_every_stage_learns_from_either_output(name: str, loss: str) -> None:
    model = Model(ALL[name])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(STEPS):
        optimizer.zero_grad()
        result = model.quantizer(model.encoder(some_vectors(40, 3, seed=step)))
        outputs = {"quantized": result.quantized.square().mean(), "loss": result.loss}
        sum(value for key, value in outputs.items() if loss in (key, "both")).backward()  # type: ignore[union-attr]
        optimizer.step()
        assert model.updates() == {step + 1}


def test_a_stack_has_the_gradients_that_it_had() -> None:
    """What reaches the stages' losses is nothing, so that a loss that is left out has no gradient."""
    model = Model(lambda: ResidualQuantizer(LearnedVectorQuantizer(8, 4), 3))
    model.quantizer(model.encoder(some_vectors(40, 3))).quantized.sum().backward()
    assert all(each.codes.grad is None or not each.codes.grad.any() for each in model.codebooks())
    torch.testing.assert_close(model.encoder.bias.grad, torch.full((4,), 40.0))


class DataSGD(torch.optim.Optimizer):
    """Writes to `.data`, which no version counter sees."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for each in group["params"]:
                if each.grad is not None:
                    each.data -= 0.05 * each.grad


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05),
    "adam foreach": lambda params: torch.optim.Adam(params, lr=0.01, foreach=True),
    "adam fused": lambda params: torch.optim.Adam(params, lr=0.01, fused=True),
    "fused without a change": lambda params: torch.optim.Adam(params, lr=0.0, fused=True),
    "data": DataSGD,
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("zero_first", [True, False])
def test_one_update_a_step_of_any_optimiser(kind: str, accumulate: int, zero_first: bool) -> None:
    model = Model(ALL["residual_ema"])
    optimizer = OPTIMIZERS[kind](model.parameters())
    for step in range(STEPS):
        for part in range(accumulate):
            loss = model(some_vectors(40, 3, seed=10 * step + part))
            if zero_first and part == 0:
                optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        assert model.updates() == {step + 1}
        if not zero_first:
            optimizer.zero_grad(set_to_none=False)


def test_lbfgs_evaluates_its_closure_several_times_a_step() -> None:
    model = Model(lambda: VectorQuantizer(8, 4))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    passes = 0

    def closure() -> Tensor:
        nonlocal passes
        passes += 1
        optimizer.zero_grad()
        loss = model(some_vectors(40, 3))
        loss.backward()
        return loss

    for step in range(3):
        optimizer.step(closure)
        assert model.updates() == {step + 1}
    assert passes > 3


# Which optimiser trains it changes during a run


def steps_of(model: Model, optimizer: torch.optim.Optimizer, number: int) -> None:
    for step in range(number):
        optimizer.zero_grad()
        model(some_vectors(40, 3, seed=step)).backward()
        optimizer.step()


@few
def test_another_optimiser_takes_over(name: str) -> None:
    model = Model(ALL[name])
    first = torch.optim.SGD(model.parameters(), lr=0.05)
    steps_of(model, first, 3)
    for number, make in enumerate(OPTIMIZERS.values(), 1):  # `first` is still there
        steps_of(model, make(model.parameters()), 10)
        for found in model.updates():
            assert 3 + 7 * number <= found <= 3 + 10 * number  # it is found after some passes more than usual
    del first
    gc.collect()


def test_an_optimiser_for_each_epoch() -> None:
    model = Model(ALL["ema"])
    for epoch in range(4):
        steps_of(model, torch.optim.Adam(model.parameters()), 2)
        assert model.updates() == {2 * epoch + 2}


def test_an_encoder_that_is_unfrozen_later() -> None:
    model, decoder = Model(ALL["ema"]), nn.Linear(4, 3)
    model.encoder.requires_grad_(False)
    optimizer = torch.optim.SGD([*decoder.parameters()], lr=0.05)
    for step in range(6):
        if step == 3:
            model.encoder.requires_grad_(True)
            optimizer.add_param_group({"params": model.encoder.parameters()})
        if step == 1:
            update_codebooks_after_step(model, optimizer)
        optimizer.zero_grad()
        result = model.quantizer(model.encoder(some_vectors(40, 3, seed=step)))
        (decoder(result.quantized).square().mean() + result.loss).backward()
        optimizer.step()
        assert model.updates() == {step}  # that of the first step came before the binding


def test_a_pass_that_nobody_trains_comes_first() -> None:
    """As for an initialisation that depends on data."""
    model = Model(lambda: VectorQuantizer(8, 4, kmeans_iterations=0))
    with torch.no_grad():
        vectors = model.encoder(some_vectors(40, 3, seed=9))
    model.quantizer(vectors)
    steps_of(model, torch.optim.SGD(model.parameters(), lr=0.05), STEPS)
    assert model.updates() == {STEPS}
    assert model.quantizer.counts.sum() < 40  # it was dropped


def test_two_encoders_share_a_codebook() -> None:
    quantizer, encoders = VectorQuantizer(8, 4), [nn.Linear(3, 4) for _ in range(2)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.05) for each in encoders]
    for step in range(STEPS):
        for number, (encoder, optimizer) in enumerate(zip(encoders, optimizers, strict=True)):
            optimizer.zero_grad()
            quantizer(encoder(some_vectors(40, 3, seed=step))).quantized.sum().backward()
            optimizer.step()
            assert quantizer.updates == 2 * step + number + 1


@few
@pytest.mark.parametrize("first", ["discriminator", "generator"])
def test_turns_that_freeze_the_other_network(name: str, first: str) -> None:
    """As Lightning's `toggle_optimizer`: in the discriminator's turn the encoder needs no gradient."""

    def fit(times: int) -> dict[str, Tensor]:
        model = Model(ALL[name])
        discriminator = nn.Linear(model.quantizer.dim, 1)
        ours = torch.optim.SGD(model.parameters(), lr=0.05)
        theirs = torch.optim.SGD(discriminator.parameters(), lr=0.05)

        def turn_of_discriminator(step: int) -> None:
            model.requires_grad_(False)
            for _ in range(times):
                theirs.zero_grad()
                discriminator(
                    model.quantizer(model.encoder(some_vectors(40, 3, seed=step))).quantized
                ).mean().backward()
                theirs.step()
            model.requires_grad_(True)

        for step in range(STEPS):
            if first == "discriminator":
                turn_of_discriminator(step)
            ours.zero_grad()
            torch.manual_seed(step)  # a frozen layer still samples, and draws from the same generator
            model(some_vectors(40, 3, seed=step)).backward()
            ours.step()
            if first == "generator":
                turn_of_discriminator(step)
            assert model.updates() == {step + 1}
        return state(model)

    assert_equal(fit(1), fit(0))


def test_copies_made_right_after_a_step_have_its_update() -> None:
    model = Model(lambda: VectorQuantizer(6, 4))
    averaged = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda old, new, count: new, use_buffers=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        steps_of(model, optimizer, 1)
        averaged.update_parameters(model)
        for found, expected in zip(averaged.module.buffers(), model.buffers(), strict=True):
            assert torch.equal(found, expected)
        assert torch.equal(copy.deepcopy(model).quantizer.codes, model.quantizer.codes)


@every
def test_outputs_may_be_changed_in_place(name: str) -> None:
    model = Model(ALL[name])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(2):
        for training in (False, True):
            result = model.train(training).quantizer(model.encoder(some_vectors(40, 3)))
            result.quantized.mul_(2)
        (result.quantized.square().mean() + result.loss).backward()
        optimizer.step()
        assert model.updates() == {step + 1}


def test_a_model_that_is_dropped_is_freed() -> None:
    model = Model(lambda: ResidualQuantizer(VectorQuantizer(6, 4), 2))
    steps_of(model, optimizer := torch.optim.SGD(model.parameters(), lr=0.05), 2)
    gone = weakref.ref(model.quantizer)
    del model
    gc.collect()
    assert gone() is None
    optimizer.step()  # whose hooks find nothing


# tests/harness/test_compiled.py has the others
@pytest.mark.parametrize(
    "name", ["residual_ema_cosine", "residual_learned", "product_ema_cosine", "residual_of_products"]
)
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # likewise
def test_compiled_updates_are_those_of_the_eager_run(name: str) -> None:
    torch._dynamo.reset()

    def fit(compile: bool) -> dict[str, Tensor]:
        model = Model(ALL[name])
        forward = torch.compile(model, backend="aot_eager") if compile else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for step in range(STEPS):
            optimizer.zero_grad()
            forward(some_vectors(40, 3, seed=step)).backward()
            optimizer.step()
            assert model.updates() == {step + 1}
        return state(model)

    found, expected = fit(True), fit(False)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


def test_vectors_that_are_optimised_themselves() -> None:
    """Not the parameter of a module, but trained all the same."""
    layer, x = VectorQuantizer(8, 3), some_vectors(40, 3).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.1)
    for step in range(STEPS):
        optimizer.zero_grad()
        layer(x).quantized.square().sum().backward()
        optimizer.step()
        assert layer.updates == step + 1


def test_loading_forgets_what_was_collected() -> None:
    model = Model(lambda: VectorQuantizer(6, 4, kmeans_iterations=0))
    saved = state(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model(some_vectors(40, 3)).backward()
    model.load_state_dict(saved)
    optimizer.step()
    assert model.updates() == {0}
    assert torch.equal(model.codebooks()[0].codes, saved["quantizer.codes"])


# Which optimisers


def test_leaves_are_found_nearest_first() -> None:
    near, far = nn.Linear(2, 2), nn.Linear(2, 2)
    x = torch.randn(3, 2, requires_grad=True)
    found = list(trained_leaves(near(far(x)).relu()))
    of_near = {id(each) for each in near.parameters()}
    assert id(found[0]) in of_near  # the bias; the weight is behind a transpose
    assert {id(each) for each in found} == of_near | {id(each) for each in far.parameters()} | {id(x)}
    assert list(trained_leaves(x)) == [x]
    assert not list(trained_leaves(torch.ones(2)))
    assert not list(trained_leaves(torch.ones(2) * 2))


def test_owners_hold_the_nearest_leaf_that_is_trained() -> None:
    near, far = nn.Linear(2, 2), nn.Linear(2, 2)
    result = near(far(torch.randn(3, 2)))
    first, second = torch.optim.SGD(far.parameters()), torch.optim.Adam(far.parameters())
    other = torch.optim.SGD(nn.Linear(2, 2).parameters())
    leaf, owners = owning_optimizers(result, [other, first, second])
    assert any(leaf is each for each in far.parameters())  # nobody trains the nearer one
    assert owners == [first, second]
    assert owning_optimizers(result, [other]) == (None, [])
    assert {id(each) for each in (first, second, other)} <= {id(each) for each in list(living_optimizers())[-1]}
