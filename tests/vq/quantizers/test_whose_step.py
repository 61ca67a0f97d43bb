"""A codebook's update belongs to it: once per step of the optimiser that trains what it quantises, whatever else happens."""

import copy
import gc
import pickle
import warnings
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from discrete_lightning.distributed import rank
from discrete_lightning.nn import (
    LearnedVectorQuantizer,
    NearestCodeQuantizer,
    ProductQuantizer,
    Quantizer,
    ResidualQuantizer,
    VectorQuantizer,
    update_codebooks_after_step,
)
from discrete_lightning.vq.owning_optimizers import living_optimizers, owning_optimizers, trained_leaves
from discrete_lightning.vq.quantizers import updated_codebook
from discrete_lightning.vq.quantizers.revival import sample_by_error
from tests.ranks import run_on_ranks
from tests.vq.moving_codes import MovingCodes
from tests.vq.quantizers.makers import ALL, some_vectors

# Every quantiser that has nearest codes, alone and in stacks
NEAREST = [name for name in ALL if any(isinstance(each, NearestCodeQuantizer) for each in ALL[name]().modules())]
every = pytest.mark.parametrize("name", NEAREST)
STEPS = 5


class Model(nn.Module):
    """An encoder of one layer in front of a quantiser."""

    def __init__(self, make: Callable[[], Quantizer]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.quantizer = make()
        self.encoder = nn.Linear(3, self.quantizer.dim)

    def forward(self, x: Tensor) -> Tensor:
        result = self.quantizer(self.encoder(x))
        return result.quantized.square().mean() + result.loss

    def codebooks(self) -> list[NearestCodeQuantizer]:
        return [each for each in self.modules() if isinstance(each, NearestCodeQuantizer)]

    def updates(self) -> set[int]:
        return {int(each.updates) for each in self.codebooks()}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


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


@every
@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda each: each.__name__)
def test_what_does_not_touch_it(name: str, disturb: Callable[[Model, int], None]) -> None:
    alone = train(Model(ALL[name]))

    def leaving_the_noise(model: Model, step: int) -> None:
        before = torch.get_rng_state()
        disturb(model, step)
        torch.set_rng_state(before)

    assert_equal(train(Model(ALL[name]), leaving_the_noise), alone)


@every
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


@every
@pytest.mark.parametrize("fused", [False, True])
def test_adam_fused_or_not(name: str, fused: bool) -> None:
    model = Model(ALL[name])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    for step in range(STEPS):
        model(some_vectors(40, 3, seed=step)).backward()
        optimizer.step()
        assert model.updates() == {step + 1}
        optimizer.zero_grad()


@every
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


def test_the_last_step_is_not_lost() -> None:
    """However the state is taken after it."""
    takes: dict[str, Callable[[NearestCodeQuantizer], Tensor]] = {
        "codes": lambda layer: layer.codes,
        "state_dict": lambda layer: layer.state_dict()["codes"],
        "deepcopy": lambda layer: copy.deepcopy(layer).codes,
        "pickle": lambda layer: pickle.loads(pickle.dumps(layer)).codes,
        "to": lambda layer: layer.to("cpu")._buffers["codes"],  # type: ignore[return-value]
        "eval": lambda layer: layer.eval()._buffers["codes"],  # type: ignore[return-value]
        "buffers": lambda layer: next(each for each in layer.state_dict().values() if each.ndim == 2),
    }
    expected = None
    for name, take in takes.items():
        model = Model(lambda: VectorQuantizer(6, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for step in range(2):
            model(some_vectors(40, 3, seed=step)).backward()
            optimizer.step()
        found = take(model.quantizer).clone()  # type: ignore[arg-type]
        expected = found if expected is None else expected
        assert torch.equal(found, expected), name


def test_loading_forgets_what_was_collected() -> None:
    model = Model(lambda: VectorQuantizer(6, 4, kmeans_iterations=0))
    saved = state(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model(some_vectors(40, 3)).backward()
    model.load_state_dict(saved)
    optimizer.step()
    assert model.updates() == {0}
    assert torch.equal(model.codebooks()[0].codes, saved["quantizer.codes"])


# A codebook that nothing updates says so


def assert_silent(act: Callable[[], None], times: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(times):
            act()


@pytest.mark.parametrize("grad", [False, True])
def test_vectors_of_a_frozen_network(grad: bool) -> None:
    """The optimiser trains what comes after the codebook, which it cannot see: the second pass says what to call."""
    layer, decoder = VectorQuantizer(8, 3), nn.Linear(3, 3)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        decoder(layer(some_vectors(40, 3).requires_grad_(grad)).quantized).square().sum().backward()
        optimizer.step()

    assert_silent(step, 1)
    told = r"VectorQuantizer: no optimiser trains .*quantizer\.update\(\) after each step, or update_codebooks"
    with pytest.warns(UserWarning, match=told):
        step()
    assert_silent(step, 200)
    assert layer.updates == 0
    update_codebooks_after_step(layer, optimizer)
    for _ in range(STEPS):
        step()
    assert layer.updates == STEPS


def test_update_by_hand_is_silent() -> None:
    layer = VectorQuantizer(8, 3)

    def step() -> None:
        layer(some_vectors(40, 3))
        layer.update()

    assert_silent(step, 200)
    assert layer.updates == 200
    layer.update()  # with nothing collected
    assert layer.updates == 200


def test_a_run_without_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updated_codebook, "_FORGOTTEN", 10)
    model = Model(lambda: VectorQuantizer(8, 4))
    optimizer = torch.optim.SGD(model.parameters())
    assert_silent(lambda: model(some_vectors(5, 3)).backward(), 9)
    with pytest.warns(UserWarning, match="10 passes without an update"):
        model(some_vectors(5, 3)).backward()
    assert_silent(lambda: model(some_vectors(5, 3)).backward(), 20)
    optimizer.step()
    assert model.updates() == {1}


def test_outputs_that_no_loss_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updated_codebook, "_FORGOTTEN", 10)
    model = Model(lambda: VectorQuantizer(8, 4))
    assert_silent(lambda: model(some_vectors(5, 3)), 9)
    with pytest.warns(UserWarning, match="in 10 training passes no gradient has reached its output"):
        model(some_vectors(5, 3))
    assert_silent(lambda: model(some_vectors(5, 3)), 20)


# Bindings


def test_a_binding_ends() -> None:
    layer, x = VectorQuantizer(8, 3), nn.Parameter(some_vectors(40, 3))
    optimizer = torch.optim.SGD([x], lr=0.1)
    binding = update_codebooks_after_step(layer, optimizer)
    for ended in (False, True):
        if ended:
            binding.remove()
            binding.remove()
            assert not optimizer._optimizer_step_post_hooks
        layer(x).quantized.sum().backward()
        optimizer.step()
    assert layer.updates == 2  # afterwards it sees the steps by itself again
    assert not layer.bindings


def test_two_bindings_count_once() -> None:
    model = Model(lambda: VectorQuantizer(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        update_codebooks_after_step(model, optimizer)
    model(some_vectors(40, 3)).backward()
    optimizer.step()
    assert model.updates() == {1}


def test_a_binding_needs_an_optimiser() -> None:
    with pytest.raises(ValueError, match="needs an optimiser"):
        update_codebooks_after_step(nn.Linear(1, 1))


def test_each_codebook_of_its_own_optimiser() -> None:
    first, second = Model(lambda: VectorQuantizer(8, 4)), Model(lambda: LearnedVectorQuantizer(8, 4))
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.05) for each in (first, second)]
    update_codebooks_after_step(nn.ModuleList([first, second]), *optimizers)
    for step in range(4):
        (first(some_vectors(40, 3)) + second(some_vectors(40, 3))).backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        if step % 2:
            optimizers[1].step()
            optimizers[1].zero_grad()
    assert (first.updates(), second.updates()) == ({4}, {2})


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
    assert {id(each) for each in (first, second, other)} <= {id(each) for each in living_optimizers()}


# Ranks

RANKED = {
    "ema": lambda: VectorQuantizer(12, 4, decay=0.8, kmeans_iterations=0, revive_below=0.0),
    "defaults": lambda: VectorQuantizer(12, 4),
    "learned": lambda: LearnedVectorQuantizer(12, 4),
    "residual": lambda: ResidualQuantizer(VectorQuantizer(8, 4, revive_below=0.5), 2),
    "product": lambda: ProductQuantizer(LearnedVectorQuantizer(8, 2), 2),
}
SKIPS = {"in the middle": (2,), "at the start": (0, 1), "all but one": (0, 1, 3, 4)}


def train_skipping(pickled: bytes) -> dict[str, dict[str, Tensor]]:
    """Rank 1 leaves the layer out in some steps; both ranks in the last one."""
    found = {}
    for name, models in pickle.loads(pickled).items():
        for skip, model in models.items():
            wrapped = DistributedDataParallel(model.encoder)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            update_codebooks_after_step(model, optimizer)
            for step in range(STEPS + 1):
                optimizer.zero_grad()
                vectors = wrapped(some_vectors(40, 3, seed=10 * step + rank()))
                loss = vectors.square().mean()
                if step < STEPS and not (rank() == 1 and step in SKIPS[skip]):
                    result = model.quantizer(vectors)
                    loss = loss + result.quantized.square().mean() + result.loss
                loss.backward()
                if isinstance(model.codebooks()[0], LearnedVectorQuantizer):  # not in the wrapper
                    for each in model.quantizer.parameters():
                        each.grad = None
                optimizer.step()
            found[f"{name}, {skip}"] = state(model)
    return found


@pytest.fixture(scope="module")
def skipping() -> list[dict[str, dict[str, Tensor]]]:
    models = {name: {skip: Model(make) for skip in SKIPS} for name, make in RANKED.items()}
    return run_on_ranks(train_skipping, pickle.dumps(models), seconds=100)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("name", RANKED)
def test_a_rank_that_skips_the_layer_joins_the_update(
    name: str, skip: str, skipping: list[dict[str, dict[str, Tensor]]]
) -> None:
    first, second = (each[f"{name}, {skip}"] for each in skipping)
    assert_equal(first, second)
    before = state(Model(RANKED[name]))
    for key, value in first.items():
        if key.endswith("updates"):
            assert value == STEPS  # the step in which no rank had a pass is none
        if fnmatchcase(key, "*codes"):
            assert not torch.equal(value, before[key])


@pytest.mark.parametrize("skip", SKIPS)
def test_what_both_ranks_saw_is_in_the_codes(skip: str, skipping: list[dict[str, dict[str, Tensor]]]) -> None:
    """Against the reference, which is fed what the ranks' encoders gave."""
    model = Model(RANKED["ema"])
    layer: VectorQuantizer = model.quantizer  # type: ignore[assignment]
    truth = MovingCodes(layer.codes, layer.counts, layer.sums, layer.decay)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    binding = update_codebooks_after_step(model, optimizer)
    for step in range(STEPS):
        optimizer.zero_grad()
        seen = []
        for r in (0, 1):
            vectors = model.encoder(some_vectors(40, 3, seed=10 * step + r))
            loss = vectors.square().mean()
            if not (r == 1 and step in SKIPS[skip]):
                seen.append(vectors.detach())
                result = model.quantizer(vectors)
                loss = loss + result.quantized.square().mean() + result.loss
            (loss / 2).backward()
        truth.step(torch.cat(seen))
        optimizer.step()
    binding.remove()
    for key in ("codes", "counts", "sums"):
        torch.testing.assert_close(
            skipping[0][f"ema, {skip}"][f"quantizer.{key}"].double(), getattr(truth, key), rtol=1e-4, atol=1e-5
        )


def train_unbound(pickled: bytes) -> dict[str, tuple[dict[str, Tensor], list[str]]]:
    found = {}
    for name, model in pickle.loads(pickled).items():
        wrapped = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(4):
                optimizer.zero_grad()
                wrapped(some_vectors(40, 3, seed=10 * step + rank())).backward()
                optimizer.step()
        found[name] = state(model), [str(each.message) for each in caught if "VectorQuantizer" in str(each.message)]
    return found


def test_ranks_without_a_binding_are_told_and_stay_equal() -> None:
    models = {name: Model(RANKED[name]) for name in ("defaults", "learned")}
    first, second = run_on_ranks(train_unbound, pickle.dumps(models), seconds=60)
    for name in models:
        assert_equal(first[name][0], second[name][0])
        for _, told in (first[name], second[name]):
            assert len(told) == 1
            assert "on 2 ranks its codes are not updated until" in told[0]
            assert "update_codebooks_after_step(model, optimizer)" in told[0]


# Revival over ranks: the same places and vectors as one process with all of them


def sampled() -> list[tuple[Tensor, Tensor]]:
    results = []
    for vectors, errors, wanted, sizes in revival_cases():
        part = slice(0, sizes[0]) if rank() == 0 else slice(sizes[0], None)
        results.append(sample_by_error(vectors[part], errors[part], wanted))
    return results


def revival_cases() -> list[tuple[Tensor, Tensor, Tensor, tuple[int, int]]]:
    cases = []
    for seed, sizes in enumerate([(30, 30), (0, 20), (20, 0), (3, 50), (1, 1), (40, 7)]):
        generator = torch.Generator().manual_seed(seed)
        count = sum(sizes)
        errors = torch.rand(count, generator=generator).pow(4) * 10.0 ** float(seed - 2)
        if seed == 5:
            errors[:30] = 0
        wanted = torch.rand(16, generator=generator) < 0.6
        cases.append((torch.randn(count, 3, generator=generator), errors, wanted, sizes))
    return cases


def test_revival_takes_what_one_process_would() -> None:
    alone = [sample_by_error(vectors, errors, wanted) for vectors, errors, wanted, _ in revival_cases()]
    for found in run_on_ranks(sampled):
        for (places, rows), (expected_places, expected_rows) in zip(found, alone, strict=True):
            assert torch.equal(places, expected_places)
            assert torch.equal(rows, expected_rows)
    for (places, rows), (vectors, errors, wanted, _) in zip(alone, revival_cases(), strict=True):
        assert not (places & ~wanted).any()
        taken = [int((vectors == row).all(1).nonzero()[0]) for row in rows[places]]
        share = errors.double() / errors.double().sum() * int(wanted.sum())
        for index, expected in enumerate(share.tolist()):  # systematic: floor or ceil, at most once
            assert int(expected >= 1 + 1e-6) <= taken.count(index) <= int(expected > 0)


def test_nothing_wanted_and_nothing_to_take() -> None:
    none = sample_by_error(torch.zeros(0, 2), torch.zeros(0), torch.ones(3, dtype=torch.bool))
    assert not none[0].any()
    unwanted = sample_by_error(torch.ones(4, 2), torch.ones(4), torch.zeros(3, dtype=torch.bool))
    assert not unwanted[0].any()
    exact = sample_by_error(torch.ones(4, 2), torch.zeros(4), torch.ones(3, dtype=torch.bool))
    assert not exact[0].any()
