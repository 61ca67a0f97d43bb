"""Codes that were made elsewhere are kept, however they are brought in; stored codes may be of any integer dtype."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.functional import one_hot
from discrete_lightning.metrics import CodePerplexity, CodeUsage, LiveCodes
from discrete_lightning.nn import (
    GumbelQuantizer,
    LargeGumbelQuantizer,
    LearnedVectorQuantizer,
    RelaxedEmbedding,
    ResidualQuantizer,
    VectorQuantizer,
)
from discrete_lightning.vq.functional import code_statistics
from discrete_lightning.vq.quantizer import Codebook
from discrete_lightning.vq.quantizers.code_table import CodeTable
from tests.vq.quantizers.makers import ALL, SINGLE, build, some_vectors

TABLE = 3 * some_vectors(64, 8, seed=0)
MAKERS: dict[str, Callable[..., CodeTable]] = {
    "ema": VectorQuantizer,
    "ema_cosine": lambda *sizes, **options: VectorQuantizer(*sizes, **options, distance="cosine"),
    "learned": LearnedVectorQuantizer,
}
START = {"start": {}, "no start": {"kmeans_iterations": 0}}


def train(layer: CodeTable, steps: int = 1, batch: int = 256, rate: float = 1e-4) -> None:
    """On vectors near the first 8 codes."""
    encoder = nn.Linear(8, 8)
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(8))
        encoder.bias.zero_()
    optimizer = torch.optim.SGD([*encoder.parameters(), *layer.parameters()], lr=rate)
    for step in range(steps):
        which = torch.randint(0, 8, (batch,), generator=torch.Generator().manual_seed(step))
        result = layer(encoder(TABLE[which] + 0.01 * some_vectors(batch, 8, seed=step)))
        optimizer.zero_grad()
        (1e-3 * result.quantized.square().mean() + result.loss).backward()
        optimizer.step()


def kept(layer: CodeTable) -> float:
    return ((layer.codes.detach() - TABLE).norm(dim=1) < 0.5).float().mean().item()


def through_a_checkpoint(layer: CodeTable) -> None:
    twin = copy.deepcopy(layer)
    twin.set_codes(TABLE)
    layer.load_state_dict(twin.state_dict())


WAYS: dict[str, Callable[[CodeTable], Any]] = {
    "set_codes": lambda layer: layer.set_codes(TABLE),
    "set_codes, float64": lambda layer: layer.set_codes(TABLE.double()),
    "set_codes after training": lambda layer: (train(layer), layer.set_codes(TABLE)),
    "set_codes, saved and loaded": through_a_checkpoint,
    "codes.copy_": lambda layer: layer.codes.data.copy_(TABLE),
    "load_state_dict of codes alone": lambda layer: layer.load_state_dict({"codes": TABLE}, strict=False),
}


@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MAKERS)
def test_codes_brought_in_stay(name: str, way: str, start: str) -> None:
    for batch in (40, 20_000):  # how often a code that is not dead is chosen depends on it
        layer = MAKERS[name](64, 8, **START[start])
        WAYS[way](layer)
        assert torch.equal(layer.codes, TABLE)
        train(layer, batch=batch)
        if name == "ema_cosine":  # those that were chosen become averages of vectors of length 1
            torch.testing.assert_close(layer.codes[8:], TABLE[8:])
        else:
            assert kept(layer) == 1


def test_unused_ones_are_revived_in_the_end_and_never_where_that_is_off() -> None:
    layers = [VectorQuantizer.from_codes(TABLE, revive_below=share) for share in (0.1, 0.0)]
    for layer in layers:
        train(layer, steps=25)
    assert kept(layers[0]) < 0.5
    assert kept(layers[1]) == 1


def test_training_goes_on_from_the_table() -> None:
    layer = VectorQuantizer.from_codes(TABLE, decay=0.9)
    near = layer.codes[:8].clone() + 0.3
    encoder = nn.Linear(8, 8)
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(8))
        encoder.bias.zero_()
    (layer(encoder(near.repeat(8, 1))).quantized.sum()).backward()
    layer.update()
    # each of the 8 was chosen 8 times, and counts before as the mean of all 64 codes, which is one
    torch.testing.assert_close(layer.codes[:8], (0.9 * TABLE[:8] + 0.8 * near) / 1.7)
    torch.testing.assert_close(layer.codes[8:], TABLE[8:])


@pytest.mark.parametrize("make", [GumbelQuantizer, LargeGumbelQuantizer])
def test_sampled_codebooks(make: type[GumbelQuantizer]) -> None:
    layer = make.from_codes(TABLE, temperature=0.5)
    assert torch.equal(layer.codes, TABLE)
    assert layer.codes.requires_grad
    assert torch.equal(layer.eval()(some_vectors(5, 8)).quantized, TABLE[layer(some_vectors(5, 8)).indices])


@pytest.mark.parametrize("make", [*MAKERS.values(), GumbelQuantizer, LargeGumbelQuantizer])
def test_tables_that_do_not_fit(make: Callable[..., CodeTable]) -> None:
    layer = make(64, 8)
    before = layer.codes.detach().clone()
    for table, words in (
        (TABLE[:, :7], r"codes of shape \(64, 8\), got \(64, 7\)"),
        (TABLE[:8], r"codes of shape \(64, 8\), got \(8, 8\)"),
        (TABLE.long(), r"must be floating, got torch.int64"),
        (TABLE.masked_fill(TABLE > 5, torch.nan), r"\d+ of 64 codes are not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            layer.set_codes(table)
    assert torch.equal(layer.codes, before)
    with pytest.raises(ValueError, match=r"\(num_codes, dim\), got \(8,\)"):
        VectorQuantizer.from_codes(TABLE[0])


def test_every_codebook_of_a_stack() -> None:
    stack = ResidualQuantizer(VectorQuantizer(8, 4), 2)
    tables = [some_vectors(8, 4, seed=seed) for seed in (1, 2)]
    for codebook, table in zip(stack.codebooks(), tables, strict=True):
        assert isinstance(codebook, CodeTable)
        codebook.set_codes(table)
    indices = torch.tensor([[3, 5]])
    torch.testing.assert_close(stack.decode(indices), (tables[0][3] + tables[1][5]).unsqueeze(0))


@pytest.mark.parametrize("name", ["ema", "learned", "residual_ema"])
def test_drawing_again_starts_again(name: str) -> None:
    """Also after training, and after loading a checkpoint from before the start."""
    first, again = build(name), build(name)
    untrained = copy.deepcopy(first.state_dict())
    vectors = some_vectors(60, 4)
    again(vectors + 5)
    again.reset_parameters()
    loaded = build(name)
    loaded(vectors + 5)
    loaded.load_state_dict(untrained)
    codes = [next(iter(each.codebooks())).codes for each in (first, again, loaded) if each(vectors)]
    assert torch.equal(codes[0], codes[1])
    assert torch.equal(codes[0], codes[2])


# Stored codes

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32]


@pytest.mark.parametrize("name", ALL)
def test_decode_of_stored_codes(name: str) -> None:
    layer = build(name).eval()
    indices = layer(some_vectors(20, layer.dim)).indices
    expected = layer.decode(indices)
    for dtype in INTEGERS:
        assert torch.equal(layer.decode(indices.to(dtype)), expected)
    for wrong in (indices.float(), indices.bool()):
        with pytest.raises(ValueError, match=r"indices must be integers, got torch\.(float32|bool)"):
            layer.decode(wrong)


@pytest.mark.parametrize("name", [name for name in SINGLE if isinstance(build(name), Codebook)])
def test_codes_of_nothing_and_of_another_codebook(name: str) -> None:
    layer = build(name)
    size = layer.num_codes  # type: ignore[attr-defined]
    assert not layer.decode(torch.tensor([-1])).any()
    assert layer.decode(torch.zeros(0, 3, dtype=torch.int16)).shape == (0, 3, 4)
    for wrong in (size, -2):
        with pytest.raises(ValueError, match=rf"codes 0 to {size - 1} .* from {wrong if wrong < 0 else 0} to"):
            layer.decode(torch.tensor([0, wrong]))
    assert torch.equal(layer.codes_of(torch.tensor([1], dtype=torch.int16)), layer.codes_of(torch.tensor([1])))  # type: ignore[attr-defined]


def test_other_look_ups() -> None:
    indices = torch.tensor([0, 2, 2])
    layer, vectors = RelaxedEmbedding(4, 3), some_vectors(3, 2)
    for dtype in INTEGERS:
        stored = indices.to(dtype)
        assert torch.equal(layer.look_up(stored), layer.look_up(indices))
        assert torch.equal(one_hot(stored, torch.zeros(3, 4)), one_hot(indices, torch.zeros(3, 4)))
        for found, expected in zip(
            code_statistics(vectors, stored, 4), code_statistics(vectors, indices, 4), strict=True
        ):
            assert torch.equal(found, expected)
        for make in (CodePerplexity, CodeUsage, LiveCodes):
            metrics: list[Tensor] = []
            for each in (stored, indices):
                metric = make(4)
                metric.update(each)
                metrics.append(metric.compute())
            assert torch.equal(*metrics)
