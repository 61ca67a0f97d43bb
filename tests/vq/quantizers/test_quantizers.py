"""What holds for every quantiser, and what is particular to those without a separate test file."""

import copy
import io
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.nn import (
    Codebook,
    FiniteScalarQuantizer,
    GumbelQuantizer,
    LargeGumbelQuantizer,
    LearnedVectorQuantizer,
    LinearGumbelQuantizer,
    LookupFreeQuantizer,
    NearestCodeQuantizer,
    ProductQuantizer,
    Quantizer,
    ResidualQuantizer,
    Temperature,
    VectorQuantizer,
)
from discrete_lightning.vq.quantizers.sampled import SampledCodebook
from tests.vq.quantizers.makers import ALL, SINGLE, build, some_vectors

every = pytest.mark.parametrize("name", ALL)


def trained(name: str, steps: int = 3) -> Quantizer:
    """After a few steps of an optimiser: codes started, moved and revived."""
    quantizer = build(name)
    scale = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([scale, *quantizer.parameters()], lr=0.05)
    for step in range(steps):
        result = quantizer(scale * some_vectors(60, quantizer.dim, seed=step))
        (result.quantized.square().mean() + result.loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    return quantizer


@every
@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shapes_and_dtypes(name: str, training: bool, dtype: torch.dtype) -> None:
    quantizer = build(name).train(training).to(dtype)
    for shape in [(), (30,), (2, 3, 5)]:
        vectors = some_vectors(*shape, quantizer.dim).to(dtype).requires_grad_()
        result = quantizer(vectors)
        assert result.quantized.shape == vectors.shape
        assert result.quantized.dtype == dtype
        assert result.indices.shape == (*shape, *quantizer.index_shape)
        assert result.indices.dtype == torch.int64
        assert result.loss.shape == ()
        assert result.loss.dtype in (torch.float32, dtype)
        assert (result.logits is not None) == quantizer.has_logits
        if result.logits is not None:
            assert result.logits.shape == (*shape, *quantizer.index_shape, 8)
        if training:
            (result.quantized.float().square().sum() + result.loss).backward()
            assert vectors.grad is not None
            assert vectors.grad.isfinite().all()
            assert vectors.grad.any()


@pytest.mark.parametrize("name", [name for name in SINGLE if not isinstance(build(name), SampledCodebook)])
def test_evaluation_passes_a_gradient_to_the_vectors(name: str) -> None:
    """An encoder can be trained through a codebook that is kept in eval(); sampled ones have `relaxed` for that."""
    quantizer, vectors = trained(name).eval(), some_vectors(20, build(name).dim).requires_grad_()
    quantizer(vectors).quantized.square().sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.any()


@every
def test_evaluation_is_deterministic_and_decodes_to_the_same_bits(name: str) -> None:
    quantizer, vectors = trained(name).eval(), some_vectors(4, 7, 4).repeat(1, 1, 2)
    vectors = vectors[..., : quantizer.dim]
    state = torch.get_rng_state()
    first, second = quantizer(vectors), quantizer(vectors)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.indices, second.indices)
    assert torch.equal(first.quantized, second.quantized)
    torch.testing.assert_close(quantizer.decode(first.indices), first.quantized, rtol=0, atol=1e-6)
    sizes = torch.tensor([codebook.num_codes for codebook in quantizer.codebooks()])
    columns = first.indices.reshape(-1, len(sizes))
    assert (columns >= 0).all()
    assert (columns < sizes).all()


@every
def test_codes_are_those_that_were_saved(name: str) -> None:
    quantizer = trained(name).eval()
    buffer = io.BytesIO()
    torch.save(quantizer.state_dict(), buffer)
    state = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    torch.manual_seed(99)
    loaded = ALL[name]().eval()
    loaded.load_state_dict(state)
    vectors = some_vectors(50, quantizer.dim)
    assert torch.equal(loaded(vectors).quantized, quantizer(vectors).quantized)
    assert torch.equal(loaded(vectors).indices, quantizer(vectors).indices)


@pytest.mark.parametrize("name", ["ema", "learned", "residual_ema", "product_learned", "ema_cosine"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_codes_survive_a_cast_and_a_reload_into_it_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    quantizer = trained(name)
    before = {key: value.clone() for key, value in quantizer.state_dict().items()}
    torch.manual_seed(99)
    cast = ALL[name]().to(dtype)
    cast.load_state_dict(quantizer.to(dtype).state_dict())
    for key, value in cast.state_dict().items():
        assert torch.equal(value, before[key]), key
        assert value.dtype == before[key].dtype or "trainable" in key  # which has no value of its own


@pytest.mark.parametrize("name", ["ema", "learned", "residual_learned", "product_ema"])
def test_a_checkpoint_from_before_the_start_starts_as_the_original(name: str) -> None:
    first = build(name)
    torch.manual_seed(99)
    second = ALL[name]()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    vectors = some_vectors(200, first.dim)
    assert torch.equal(first(vectors).quantized, second(vectors).quantized)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert all(codebook.started for codebook in second.codebooks() if isinstance(codebook, NearestCodeQuantizer))
    resumed = ALL[name]()
    resumed.load_state_dict(first.state_dict())
    codes = next(iter(resumed.codebooks())).codes.clone()
    assert codes.any()
    resumed(vectors + 50.0)  # no second start
    assert torch.equal(next(iter(resumed.codebooks())).codes, codes)


@pytest.mark.parametrize(
    "make",
    [VectorQuantizer, LearnedVectorQuantizer, GumbelQuantizer, LinearGumbelQuantizer, LargeGumbelQuantizer],
)
def test_a_codebook_of_another_size_is_one_error(make: Callable[[int, int], Codebook]) -> None:
    with pytest.raises(RuntimeError, match=r"size mismatch for codes: .*\[8, 4\].*\[6, 4\]"):
        make(6, 4).load_state_dict(make(8, 4).state_dict())


class EncodeAndDecode(nn.Module):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.encoder, self.quantizer = nn.Linear(6, quantizer.dim), quantizer

    def forward(self, x: Tensor, stored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, *_ = self.quantizer(self.encoder(x))
        return quantized, indices, self.quantizer.decode(stored)


@pytest.mark.parametrize("name", [*SINGLE, "residual_ema", "residual_finite_scalar", "product_gumbel"])
def test_evaluation_is_exported_with_any_batch(name: str) -> None:
    model = EncodeAndDecode(trained(name)).eval()

    def inputs(batch: int) -> tuple[Tensor, Tensor]:
        x = some_vectors(batch, 5, 6, seed=batch)
        return x, model.quantizer(model.encoder(x)).indices.to(torch.int16)

    batch_first = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, inputs(3), dynamic_shapes=(batch_first, batch_first)).module()
    for batch in (1, 8):
        given = inputs(batch)
        for found, expected in zip(program(*given), model(*given), strict=True):
            torch.testing.assert_close(found, expected)


@every
def test_vmap_of_evaluation_is_the_batch(name: str) -> None:
    """Per-example gradients too, and an ensemble of two."""
    quantizer, vectors = trained(name).eval(), some_vectors(6, build(name).dim)
    whole = quantizer(vectors)
    mapped = torch.func.vmap(lambda x: tuple(quantizer(x))[:2])(vectors)
    torch.testing.assert_close(mapped[0], whole.quantized)
    assert torch.equal(mapped[1], whole.indices)
    torch.testing.assert_close(torch.func.vmap(quantizer.decode)(whole.indices), quantizer.decode(whole.indices))

    def loss(x: Tensor) -> Tensor:
        return quantizer(x).quantized.square().sum()

    each = torch.func.vmap(torch.func.grad(loss))(vectors)
    leaf = vectors.clone().requires_grad_()
    loss(leaf).backward()
    torch.testing.assert_close(each, torch.zeros_like(vectors) if leaf.grad is None else leaf.grad)
    others = [quantizer, trained(name, steps=1).eval()]
    if not [*quantizer.parameters(), *quantizer.buffers()]:
        return  # nothing to stack
    parameters, buffers = torch.func.stack_module_state(others)

    def call(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(quantizer, (p, b), (vectors,)).quantized

    found = torch.func.vmap(call)(parameters, buffers)
    torch.testing.assert_close(found, torch.stack([other(vectors).quantized for other in others]))


@pytest.mark.parametrize("name", ["ema", "learned", "residual_ema"])
def test_vmap_of_training_says_what_to_do(name: str) -> None:
    quantizer, vectors = build(name), some_vectors(6, 4)
    with pytest.raises(RuntimeError, match=r"torch\.func \(vmap, grad\) cannot: call it in eval\(\), or freeze\(\) it"):
        torch.func.vmap(lambda x: quantizer(x).quantized)(vectors)
    quantizer.freeze()
    found = torch.func.vmap(lambda x: quantizer(x).quantized)(vectors)
    torch.testing.assert_close(found, quantizer(vectors).quantized)


@every
@pytest.mark.parametrize("training", [True, False])
def test_vectors_that_are_not_finite_are_counted(name: str, training: bool) -> None:
    quantizer, vectors = build(name).train(training), some_vectors(10, build(name).dim)
    vectors[3, 0], vectors[7, 0] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=r"2 of (10|640|8) vectors .*not finite"):
        quantizer(vectors)


@every
def test_vectors_of_another_dimension_are_refused(name: str) -> None:
    quantizer = build(name)
    with pytest.raises(
        ValueError, match=rf"{type(quantizer).__name__} quantises vectors of dimension {quantizer.dim}, last"
    ):
        quantizer(torch.zeros(3, quantizer.dim + 1))


@pytest.mark.parametrize("name", [name for name in ALL if name not in SINGLE])
def test_indices_of_another_shape_are_refused(name: str) -> None:
    quantizer = build(name)
    with pytest.raises(ValueError, match=r"decodes indices of shape .* got \(5, 9\)"):
        quantizer.decode(torch.zeros(5, 9, dtype=torch.int64))


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("wrap", [ResidualQuantizer, ProductQuantizer])
def test_parts_are_independent_and_the_first_is_the_given(
    name: str, wrap: Callable[[Quantizer, int], Quantizer]
) -> None:
    torch.manual_seed(0)
    pattern = SINGLE[name]()
    parts = wrap(pattern, 3).parts()  # type: ignore[attr-defined]
    assert parts[0] is pattern
    tables = [part.codes for part in parts if hasattr(part, "codes")]
    assert len(tables) in (0, 3)
    for i, table in enumerate(tables):
        for other in tables[i + 1 :]:
            assert not torch.equal(table, other)
            assert table.std().item() == pytest.approx(other.std().item(), rel=0.9)


# Residual and product


@pytest.mark.parametrize("name", ["residual_ema", "residual_learned", "residual_ema_cosine", "residual_lookup_free"])
def test_residual_sum_passes_its_gradient_once(name: str) -> None:
    quantizer, vectors = trained(name).eval(), some_vectors(20, 4).requires_grad_()
    g = some_vectors(20, 4, seed=5)
    quantizer(vectors).quantized.backward(g)
    torch.testing.assert_close(vectors.grad, g)


def test_residual_stages_quantise_what_is_left_and_pull_to_the_sum_so_far() -> None:
    quantizer, vectors = trained("residual_ema").eval(), some_vectors(20, 4).requires_grad_()
    result = quantizer(vectors)
    rest, loss = vectors.detach(), 0.0
    gradient = torch.zeros_like(rest)
    for stage, index in zip(quantizer.parts(), result.indices.unbind(-1), strict=True):  # type: ignore[attr-defined]
        distances = (rest.unsqueeze(1) - stage.codes).square().sum(-1)
        assert torch.equal(index, distances.argmin(-1))
        rest = rest - stage.codes[index]
        loss = loss + 0.25 * rest.square().mean()
        gradient += 0.25 * 2 * rest / rest.numel()
    torch.testing.assert_close(result.loss, torch.as_tensor(loss))
    result.loss.backward()
    torch.testing.assert_close(vectors.grad, gradient)


@pytest.mark.parametrize(
    "name", ["residual_ema", "residual_finite_scalar", "residual_lookup_free", "residual_ema_cosine"]
)
def test_every_stage_lowers_the_error(name: str) -> None:
    quantizer = trained(name).eval()
    vectors = 0.5 * some_vectors(500, 4)
    target = vectors
    if name == "residual_finite_scalar":  # it quantises the bounded vectors
        target = _bounded(quantizer, vectors)
    elif name == "residual_ema_cosine":
        vectors = target = nn.functional.normalize(vectors, dim=-1)
    indices = quantizer(vectors).indices
    errors = []
    for depth in range(1, 4):
        partial = sum(
            part.decode(index) * scale
            for part, index, scale in zip(
                quantizer.parts()[:depth],
                indices.unbind(-1),
                quantizer.scales,
                strict=False,  # type: ignore[attr-defined,arg-type]
            )
        )
        errors.append(float((partial - target).square().mean()))
    if name != "residual_ema_cosine":  # codes of length 1 overshoot small remainders
        assert errors[0] > errors[1] > errors[2]


def _bounded(quantizer: Quantizer, vectors: Tensor) -> Tensor:
    levels = torch.tensor([3.0, 2.0, 5.0, 4.0])
    half, offset = (levels - 1) * 1.001 / 2, torch.where(levels % 2 == 0, 0.5, 0.0)
    shift = torch.where(levels == 2, 0.0, torch.atanh(offset / half))
    return (torch.tanh(vectors + shift) * half - offset) / (levels // 2)


def test_product_quantises_each_group_on_its_own() -> None:
    quantizer, vectors = trained("product_ema").eval(), some_vectors(20, 8)
    result = quantizer(vectors)
    for group, part in enumerate(quantizer.parts()):  # type: ignore[attr-defined]
        alone = part(vectors[:, 4 * group : 4 * group + 4])
        assert torch.equal(result.indices[:, group], alone.indices)
        assert torch.equal(result.quantized[:, 4 * group : 4 * group + 4], alone.quantized)
    losses = [part(vectors[:, 4 * i : 4 * i + 4]).loss for i, part in enumerate(quantizer.parts())]  # type: ignore[attr-defined]
    torch.testing.assert_close(result.loss, torch.stack(losses).mean())


@pytest.mark.parametrize("wrap", [ResidualQuantizer, ProductQuantizer])
def test_composites_refuse_what_they_cannot_be(wrap: Callable[[Quantizer, int], Quantizer]) -> None:
    with pytest.raises(ValueError, match=">= 1, got 0"):
        wrap(VectorQuantizer(8, 4), 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cells_of_a_residual_grid_keep_their_size_in_a_cast(dtype: torch.dtype) -> None:
    quantizer = ResidualQuantizer(FiniteScalarQuantizer([7, 6]), 3)  # a sixth of a cell has no 16-bit number
    indices = quantizer(some_vectors(50, 2)).indices
    expected = quantizer.decode(indices)
    assert torch.equal(quantizer.to(dtype).decode(indices), expected)


def test_residual_of_residual_is_refused() -> None:
    with pytest.raises(ValueError, match="equals a single one of greater depth"):
        ResidualQuantizer(ProductQuantizer(ResidualQuantizer(VectorQuantizer(8, 4), 2), 2), 2)


# Learned codes, cosine, rotation


def test_learned_codes_get_the_gradient_of_their_loss_and_are_trained_by_it() -> None:
    quantizer = LearnedVectorQuantizer(6, 4, codebook=2.0, commitment=0.5, kmeans_iterations=0)
    vectors = some_vectors(40, 4).requires_grad_()
    result = quantizer(vectors)
    (result.quantized.sum() + result.loss).backward()
    expected = torch.zeros(6, 4)
    expected.index_add_(
        0, result.indices, 2.0 * 2 * (quantizer.codes[result.indices] - vectors).detach() / vectors.numel()
    )
    torch.testing.assert_close(quantizer.codes.grad, expected)
    difference = (vectors - quantizer.codes[result.indices]).detach()
    torch.testing.assert_close(vectors.grad, torch.ones(40, 4) + 0.5 * 2 * difference / vectors.numel())


@pytest.mark.parametrize("make", [VectorQuantizer, LearnedVectorQuantizer])
def test_cosine_chooses_by_angle_and_returns_codes_of_length_one(make: Callable[..., NearestCodeQuantizer]) -> None:
    quantizer = make(6, 4, distance="cosine", kmeans_iterations=0).eval()
    vectors = some_vectors(40, 4) * torch.logspace(-2, 2, 40).unsqueeze(1)
    result = quantizer(vectors)
    similarity = nn.functional.cosine_similarity(vectors.unsqueeze(1), quantizer.codes.detach().unsqueeze(0), dim=-1)
    assert torch.equal(result.indices, similarity.argmax(-1))
    torch.testing.assert_close(result.quantized.norm(dim=-1), torch.ones(40))
    assert torch.equal(quantizer(vectors * 7).indices, result.indices)


@pytest.mark.parametrize("make", [VectorQuantizer, LearnedVectorQuantizer])
def test_rotation_turns_the_gradient(make: Callable[..., NearestCodeQuantizer]) -> None:
    quantizer = make(6, 4, gradient="rotation", commitment=0.0, kmeans_iterations=0).eval()
    vectors = some_vectors(1, 4).requires_grad_()
    result = quantizer(vectors)
    code = result.quantized.detach()
    result.quantized.backward(code)  # along the code: it becomes a gradient along the vector
    grad = vectors.grad
    assert grad is not None
    expected = vectors.detach() / vectors.detach().norm() ** 2 * code.norm() ** 2
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"distance": "manhattan"}, "'euclidean' or 'cosine'"),
        ({"gradient": "none"}, "'straight_through' or 'rotation'"),
    ],
)
@pytest.mark.parametrize("make", [VectorQuantizer, LearnedVectorQuantizer])
def test_unknown_words(make: Callable[..., NearestCodeQuantizer], options: dict[str, str], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        make(8, 4, **options)


def test_a_negative_codebook_weight() -> None:
    with pytest.raises(ValueError, match="codebook must be >= 0, got -1"):
        LearnedVectorQuantizer(8, 4, codebook=-1)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_learned_codes_are_revived(distance: str) -> None:
    quantizer = LearnedVectorQuantizer(20, 3, kmeans_iterations=0, distance=distance)  # type: ignore[arg-type]
    with torch.no_grad():
        quantizer.codes[2:] = torch.tensor([-1000.0, 0.0, 0.0])
    quantizer._remember_drawn()  # as if they had been drawn so
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.01)
    for step in range(30):
        quantizer(some_vectors(200, 3, seed=step) + torch.tensor([3.0, 0.0, 0.0])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    used = quantizer.eval()(some_vectors(400, 3, seed=99) + torch.tensor([3.0, 0.0, 0.0])).indices.unique()
    assert len(used) > 15


# Look-up free, large Gumbel


def test_lookup_free_entropy_loss_by_enumeration() -> None:
    quantizer, vectors = LookupFreeQuantizer(3, commitment=0.5, entropy=2.0, gamma=0.7, tau=1.5), some_vectors(30, 3)
    codes = torch.tensor([[float(2 * (i >> b & 1) - 1) for b in range(3)] for i in range(8)])
    p = torch.softmax(-(vectors.unsqueeze(1) - codes).square().sum(-1) / 1.5, -1)
    each = torch.special.entr(p).sum(-1).mean()
    used = torch.special.entr(p.mean(0)).sum()
    commitment = (vectors - vectors.sign()).square().mean()
    torch.testing.assert_close(quantizer(vectors).loss, 0.5 * commitment + 2.0 * (each - 0.7 * used))


def test_lookup_free_entropy_keeps_bits_in_use() -> None:
    shares = {}
    for entropy in (0.0, 1.0):
        torch.manual_seed(0)
        encoder, quantizer = nn.Linear(4, 6), LookupFreeQuantizer(6, commitment=0.1, entropy=entropy, tau=1.0)
        nn.init.constant_(encoder.bias, 2.0)  # nearly all bits on
        optimizer = torch.optim.Adam(encoder.parameters(), lr=0.05)
        for step in range(150):
            optimizer.zero_grad()
            quantizer(encoder(some_vectors(256, 4, seed=step))).loss.backward()
            optimizer.step()
        shares[entropy] = len(quantizer.eval()(encoder(some_vectors(2000, 4, seed=999))).indices.unique()) / 64
    assert shares[1.0] > 0.3 > shares[0.0]


@pytest.mark.parametrize("options", [{"dim": 0}, {"dim": 63}, {"dim": 4, "tau": 0.0}, {"dim": 4, "gamma": -1.0}])
def test_lookup_free_arguments(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="LookupFreeQuantizer: "):
        LookupFreeQuantizer(**options)  # type: ignore[arg-type]


def test_too_many_codes_to_count() -> None:
    assert LookupFreeQuantizer(20).countable
    assert not LookupFreeQuantizer(21).countable


@pytest.mark.parametrize("levels", [[3, 1], [2.0, 3], []])
def test_finite_scalar_levels(levels: list[int]) -> None:
    with pytest.raises(ValueError, match="levels must be integers > 1"):
        FiniteScalarQuantizer(levels)


def test_large_gumbel_is_a_linear_gumbel_quantizer() -> None:
    """The same parameters give the same evaluation, the same distribution of samples and the same entropies."""
    large = LargeGumbelQuantizer(6, 4, 0.8, choice_entropy=0.3, marginal_entropy=0.5)
    small = LinearGumbelQuantizer(6, 4, temperature=0.8)
    state = large.state_dict()
    state["temperature.value"] = state.pop("sample.temperature.value")  # as older checkpoints call it
    large.load_state_dict(state)
    small.load_state_dict(
        state
        | {
            "sample.temperature.value": torch.tensor(0.8),
            "marginal_entropy.value": torch.zeros(()),
            "choice_entropy.value": torch.zeros(()),
        },
        strict=False,
    )
    vectors = some_vectors(30, 4)
    assert torch.equal(large.eval()(vectors).indices, small.eval()(vectors).indices)
    logits = small(vectors).logits
    p = torch.softmax(logits, -1)
    loss = -0.3 * torch.special.entr(p).sum(-1).mean() - 0.5 * torch.special.entr(p.mean(0)).sum()
    torch.testing.assert_close(large.train()(vectors).loss, loss)
    draws = torch.stack([large(vectors[:1]).indices for _ in range(3000)]).flatten().bincount(minlength=6) / 3000
    torch.testing.assert_close(draws, p[0].detach(), rtol=0, atol=0.04)  # 4 standard errors


def test_large_gumbel_counts_entropies_only_where_they_weigh(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    layer = sys.modules["discrete_lightning.vq.quantizers.sampled"]
    look_up = layer.gumbel_lookup
    monkeypatch.setattr(layer, "gumbel_lookup", lambda *a, **k: asked.append(k["statistics"]) or look_up(*a, **k))
    quantizer = LargeGumbelQuantizer(6, 4)
    assert quantizer(some_vectors(30, 4)).loss == 0
    quantizer.marginal_entropy.set(0.5)  # as WeightAnnealing does
    assert quantizer(some_vectors(30, 4)).loss < 0
    assert asked == [False, True]


def test_large_gumbel_learns_its_temperature() -> None:
    quantizer = LargeGumbelQuantizer(6, 4, Temperature(0.8, learnable=True))
    quantizer(some_vectors(30, 4)).quantized.square().sum().backward()
    assert quantizer.temperature.raw.grad.abs() > 0
