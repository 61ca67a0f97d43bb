"""What moves the codes of a VectorQuantizer: statistics once per batch and step, k-means start, revival, reload."""

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from discrete_lightning.nn import VectorQuantizer
from discrete_lightning.vq.quantized import Quantized
from discrete_lightning.vq.quantizers import nearest_code
from tests.vq.moving_codes import MovingCodes

PLAIN = {"kmeans_iterations": 0, "revive_below": 0.0}


def quantizer(num_codes: int = 6, dim: int = 3, **options: float) -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(num_codes, dim, **{**PLAIN, **options})  # type: ignore[arg-type]


def some_vectors(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(layer: VectorQuantizer) -> MovingCodes:
    return MovingCodes(layer.codes, layer.counts, layer.sums, layer.decay)


def assert_same(layer: VectorQuantizer, expected: MovingCodes, updates: int) -> None:
    assert layer.updates.item() == updates
    for name in ("counts", "sums", "codes"):
        torch.testing.assert_close(getattr(layer, name).double(), getattr(expected, name), rtol=1e-5, atol=1e-6)


def backward(result: Quantized) -> None:
    (result.quantized.square().mean() + result.loss).backward()


class Model(nn.Module):
    """An encoder of one layer in front of a codebook."""

    def __init__(self, **options: float) -> None:
        super().__init__()
        self.quantizer = quantizer(**options)
        self.encoder = nn.Linear(3, 3)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)

    def forward(self, x: Tensor) -> Quantized:
        result: Quantized = self.quantizer(self.encoder(x))
        return result


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("frozen", [True, False])
def test_codes_follow_the_reference(decay: float, dtype: torch.dtype, frozen: bool) -> None:
    layer = quantizer(decay=decay).to(dtype)
    start, expected = layer.codes.clone(), reference(layer)
    for step in range(8):
        vectors = some_vectors(2, 25, 3, seed=step).to(dtype).requires_grad_(not frozen)
        (layer(vectors).quantized.sum() + torch.zeros((), requires_grad=True)).backward()
        layer.update()
        expected.step(vectors)
    assert_same(layer, expected, 8)
    assert not torch.equal(layer.codes, start)


def test_a_slow_decay_moves_in_bf16() -> None:
    layer = quantizer(decay=0.999).bfloat16()
    layer.counts.fill_(1.0)
    layer.sums.copy_(layer.codes)
    moved = [layer.codes.clone()]
    for _ in range(3):
        layer(moved[0].bfloat16() + 0.25)
        layer.update()
        moved.append(layer.codes.clone())
    steps = torch.stack(moved).diff(dim=0).abs().amax((1, 2))
    assert ((steps > 1e-4) & (steps < 4e-4)).all()  # 0.25 / 1000, less than half a unit in the last place of bf16


# How one batch can pass through; each must count as one pass over `x` and one update.


def accumulate(model: Model, x: Tensor) -> None:
    for part in x.chunk(4):
        backward(model(part))
    model.optimizer.step()


def some_loss(model: Model, x: Tensor) -> Tensor:
    result = model(x)
    return result.quantized.square().mean() + result.loss


def checkpoint_reentrant(model: Model, x: Tensor) -> None:
    checkpoint(some_loss, model, x.requires_grad_(), use_reentrant=True).backward()
    model.optimizer.step()


def checkpoint_not_reentrant(model: Model, x: Tensor) -> None:
    checkpoint(some_loss, model, x, use_reentrant=False).backward()
    model.optimizer.step()


def checkpoint_twice(model: Model, x: Tensor) -> None:
    def inner(x: Tensor) -> Tensor:
        loss: Tensor = checkpoint(some_loss, model, x, use_reentrant=False)
        return loss.square()

    checkpoint(inner, x, use_reentrant=False).backward()
    model.optimizer.step()


def two_backward_passes(model: Model, x: Tensor) -> None:
    result = model(x)
    result.quantized.sum().backward(retain_graph=True)
    backward(result)
    model.optimizer.step()


def gradient_penalty(model: Model, x: Tensor) -> None:
    x = x.requires_grad_()
    result = model(x)
    (gradient,) = torch.autograd.grad(result.quantized.square().sum(), x, create_graph=True)
    (result.quantized.mean() + gradient.square().sum()).backward()
    model.optimizer.step()


def only_commitment(model: Model, x: Tensor) -> None:
    model(x).loss.backward()
    model.optimizer.step()


def only_quantized(model: Model, x: Tensor) -> None:
    model(x).quantized.sum().backward()
    model.optimizer.step()


def several_optimizers(model: Model, x: Tensor) -> None:
    backward(model(x))
    other = torch.optim.Adam([nn.Parameter(torch.zeros(()))])
    model.optimizer.step()
    other.step()


def with_a_closure(model: Model, x: Tensor) -> None:
    def closure() -> float:
        backward(model(x))
        return 0.0

    model.optimizer.step(closure)


def passes_without_gradients(model: Model, x: Tensor) -> None:
    with torch.no_grad():
        model(some_vectors(9, 3))
    with torch.inference_mode():
        model(some_vectors(9, 3))
    backward(model(x))
    model.eval()
    backward(model(some_vectors(9, 3)))
    model.train()
    model.optimizer.step()


def a_pass_without_backward(model: Model, x: Tensor) -> None:
    model(some_vectors(9, 3))
    backward(model(x))
    model.optimizer.step()


def skipped_step(model: Model, x: Tensor) -> None:
    (first, second), codes = x.chunk(2), model.quantizer.codes.clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(model(first).quantized.sum() * torch.inf).backward()
    scaler.step(model.optimizer)
    scaler.update()
    assert model.encoder.bias.grad.isinf().all()
    assert torch.equal(model.quantizer.codes, codes)
    model.optimizer.zero_grad()
    scaler.scale(model(second).quantized.sum()).backward()
    scaler.step(model.optimizer)


def twice_in_a_model(model: Model, x: Tensor) -> None:
    first, second = x.chunk(2)
    (model(first).quantized.sum() + model(second).quantized.sum()).backward()
    model.optimizer.step()


def called_by_hand(model: Model, x: Tensor) -> None:
    backward(model(x))
    model.quantizer.update()
    model.quantizer.update()
    model.optimizer.step()


def an_empty_batch_more(model: Model, x: Tensor) -> None:
    backward(model(x))
    model(x[:0]).quantized.sum().backward()
    model.optimizer.step()


def compiled(model: Model, x: Tensor) -> None:
    torch._dynamo.reset()
    backward(Quantized(*torch.compile(model, backend="aot_eager")(x)))
    model.optimizer.step()


WAYS = [
    accumulate, checkpoint_reentrant, checkpoint_not_reentrant, checkpoint_twice, two_backward_passes, gradient_penalty,
    only_commitment, only_quantized, several_optimizers, with_a_closure, passes_without_gradients,
    a_pass_without_backward, skipped_step, twice_in_a_model, called_by_hand, an_empty_batch_more, compiled,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated")  # torch's own, traced
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # likewise
def test_a_batch_counts_once(way: Callable[[Model, Tensor], None]) -> None:
    model, x = Model(decay=0.7), some_vectors(24, 3)
    expected = reference(model.quantizer)
    for step in (1, 2):  # the second finds nothing left over from the first
        expected.step(model.encoder(x))
        model.optimizer.zero_grad()
        way(model, x.clone())
        assert_same(model.quantizer, expected, step)


def test_no_statistics_without_a_pass() -> None:
    model = Model()
    before = copy.deepcopy(model.quantizer.state_dict())
    for mode in (model.eval, model.train):
        mode()
        with torch.set_grad_enabled(not model.training):
            model(some_vectors(9, 3))
        vectors = model.encoder(some_vectors(9, 3))
        model.quantizer(vectors)  # its result is not used, the vectors are
        vectors.sum().backward()
        model.optimizer.step()
    for name, value in model.quantizer.state_dict().items():
        assert torch.equal(value, before[name])


def test_several_quantizers_are_updated_each() -> None:
    layers = [quantizer(), quantizer(num_codes=4)]
    expected, x = [reference(layer) for layer in layers], some_vectors(30, 3).requires_grad_()
    optimizer = torch.optim.SGD([x], lr=0.0)
    sum(layer(x).quantized.sum() for layer in layers).backward()  # type: ignore[union-attr]
    optimizer.step()
    for layer, truth in zip(layers, expected, strict=True):
        truth.step(x)
        assert_same(layer, truth, 1)


# Start


def clusters(count: int, num_codes: int, *, seed: int = 0) -> Tensor:
    """Vectors (count, 3) in `num_codes` tight clusters, far from each other and from the origin."""
    generator = torch.Generator().manual_seed(seed)
    centres = 10.0 + 10.0 * torch.arange(num_codes).float().unsqueeze(1) * torch.tensor([1.0, -1.0, 0.5])
    choice = torch.arange(count) % num_codes
    return centres[choice] + 0.1 * torch.randn(count, 3, generator=generator)


def test_kmeans_starts_the_codes_where_the_first_batch_is() -> None:
    layer, batch = quantizer(num_codes=5, kmeans_iterations=10), clusters(100, 5)
    assert not layer.started
    assert layer.codes.abs().max() < 5
    result = layer(batch.requires_grad_())
    assert layer.started
    assert (batch - result.quantized).norm(dim=-1).mean() < (batch - batch.mean(0)).norm(dim=-1).mean() / 3
    assert result.indices.bincount(minlength=5).equal(layer.counts.long())
    assert layer.counts.sum() == 100
    torch.testing.assert_close(layer.sums, torch.zeros(5, 3).index_add(0, result.indices, batch.detach()))
    first = layer.codes.clone()
    layer(clusters(100, 5, seed=1) + 5)
    assert torch.equal(layer.codes, first)


@pytest.mark.parametrize("count", [1, 3, 5, 6])
def test_a_first_batch_smaller_than_the_codebook(count: int) -> None:
    layer, vectors = quantizer(num_codes=6, kmeans_iterations=10, revive_below=0.1), some_vectors(count, 3)
    for _ in range(3):
        result = layer(vectors)
        torch.testing.assert_close(result.quantized, vectors, atol=0.02, rtol=0)
        assert len(result.indices.unique()) == count
        layer.update()
    assert layer.codes.isfinite().all()


@pytest.mark.parametrize("how", ["no_grad", "eval", "empty"])
def test_what_does_not_start_the_codes(how: str) -> None:
    layer = quantizer(kmeans_iterations=3).train(how != "eval")
    codes = layer.codes.clone()
    with torch.set_grad_enabled(how != "no_grad"):
        layer(some_vectors(0 if how == "empty" else 20, 3))
    assert not layer.started
    assert torch.equal(layer.codes, codes)


def test_the_start_is_repeatable_and_leaves_the_random_state() -> None:
    state = torch.manual_seed(9).get_state()
    layers = [VectorQuantizer(4, 3, seed=seed) for seed in (0, 0, 1)]
    torch.set_rng_state(state)
    for layer in layers:
        layer(some_vectors(200, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layers[0].codes, layers[1].codes)
    assert not torch.equal(layers[0].codes, layers[2].codes)


# Revival


def far_away(revive_below: float) -> VectorQuantizer:
    layer = quantizer(num_codes=20, decay=0.9, revive_below=revive_below)
    layer.codes[2:] += 1000.0  # 90 %
    layer._remember_drawn()  # as if they had been drawn so
    return layer


@pytest.mark.parametrize(("revive_below", "alive"), [(0.1, range(18, 21)), (0.0, range(1, 3))])
def test_dead_codes_come_alive(revive_below: float, alive: range) -> None:
    layer = far_away(revive_below)
    for step in range(15):
        layer(some_vectors(400, 3, seed=step).requires_grad_()).quantized.sum().backward()
        layer.update()
    assert len(layer.eval()(some_vectors(400, 3, seed=99)).indices.unique()) in alive


def test_revival_is_on_by_default() -> None:
    assert VectorQuantizer(4, 2).revive_below > 0


def test_revived_codes_are_vectors_of_the_batch_with_statistics_of_an_average_code() -> None:
    layer, batch = far_away(0.1), some_vectors(400, 3)
    before = layer.codes.clone()
    layer(batch)
    layer.update()
    moved = (layer.codes[2:] != before[2:]).any(1)
    assert moved.all()
    assert all((batch == code).all(1).any() for code in layer.codes[2:])
    assert len(layer.codes.unique(dim=0)) == 20
    mean = (1 - layer.decay) * len(batch) / 20
    torch.testing.assert_close(layer.counts[2:], torch.full((18,), mean))
    torch.testing.assert_close(layer.sums, layer.codes * layer.counts.unsqueeze(1))


@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
def test_revival_under_accumulation_takes_vectors_of_each_part() -> None:
    layer = far_away(0.1)
    for shift in (-50.0, 50.0):  # equally far from the codes
        layer(some_vectors(200, 3) + shift)
    layer.update()
    assert 4 < (layer.codes[2:, 0] < -40).sum() < 14
    assert 4 < ((layer.codes[2:, 0] > 40) & (layer.codes[2:, 0] < 60)).sum() < 14


def test_codes_come_alive_where_the_error_is() -> None:
    layer, near, far = far_away(0.1), some_vectors(380, 3), some_vectors(20, 3) + 30.0
    layer(torch.cat([near, far]))
    layer.update()
    # 20 vectors at a squared distance of about 2,700 and 380 at about 3: nearly all of the error is far away
    assert (layer.codes[2:, 0] > 25).sum() > 10


@pytest.mark.parametrize("vectors", [400, 7])
def test_revival_samples_in_proportion_to_the_error(vectors: int) -> None:
    layer = quantizer(num_codes=20, decay=0.9, revive_below=0.1)
    layer.codes.fill_(1e4)
    layer.codes[0] = 0.0
    layer._remember_drawn()  # as if they had been drawn so
    batch = torch.rand(vectors, 3, generator=torch.Generator().manual_seed(2))
    before = layer.codes.clone()
    layer(batch)
    layer.update()
    errors = batch.double().square().sum(-1).cumsum(0)
    grid = (torch.arange(19) + 0.5) / 19 * errors[-1]
    expected = {int((errors <= point).sum()) for point in grid.tolist()}
    moved = layer.codes[1:][(layer.codes[1:] != before[1:]).any(1)]
    found = {int((batch == code).all(1).nonzero()[0]) for code in moved}
    assert found == expected
    assert len(moved) == len(expected)


def test_codes_in_use_are_not_revived() -> None:
    layers = [quantizer(num_codes=5, decay=0.9, revive_below=share) for share in (0.1, 0.0)]
    for layer in layers:
        layer.codes.copy_(clusters(5, 5))
        for step in range(4):
            layer(clusters(100, 5, seed=step))
            layer.update()
    assert torch.equal(layers[0].codes, layers[1].codes)


def test_vectors_that_are_not_finite_never_become_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    # On an accelerator values are not checked, so such a batch reaches the update
    monkeypatch.setattr(nearest_code, "nearest_code", lambda vectors, codes: torch.zeros(len(vectors)).long())
    layer = quantizer(revive_below=0.9, kmeans_iterations=0)
    batch = some_vectors(40, 3)
    layer(batch)
    layer.update()
    before = layer.codes.clone()
    layer(torch.full((40, 3), torch.inf))
    layer.update()
    assert layer.codes.isfinite().all()
    assert torch.equal(layer.codes, before)


# Reload


def saved(module: nn.Module) -> dict[str, Tensor]:
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    state: dict[str, Tensor] = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    return state


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_reloaded_run_goes_on_bit_for_bit(steps: int) -> None:
    def train(layer: VectorQuantizer, first: int, last: int) -> None:
        for step in range(first, last):
            layer(some_vectors(60, 3, seed=step))
            layer.update()

    layer, other = (VectorQuantizer(10, 3, decay=0.8, revive_below=0.5) for _ in range(2))
    train(layer, 0, steps)
    other.load_state_dict(saved(layer))
    assert bool(other.started) == (steps > 0)
    assert torch.equal(other.codes, layer.codes)
    for each in (layer, other):
        train(each, steps, 6)
    for name, value in other.state_dict().items():
        assert torch.equal(value, layer.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
def test_a_reloaded_codebook_is_not_started_again() -> None:
    layer, other = (VectorQuantizer(5, 3) for _ in range(2))
    layer(clusters(100, 5))
    other.load_state_dict(saved(layer))
    far = clusters(100, 5) + 300
    assert torch.equal(other(far).quantized, layer(far).quantized)
    assert torch.equal(other.codes, layer.codes)
