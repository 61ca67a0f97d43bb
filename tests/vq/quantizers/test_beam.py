"""Residual stacks that encode by a beam search, and what their stages learn from it."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from discrete_lightning.nn import (
    FactorizedQuantizer,
    GumbelQuantizer,
    LearnedVectorQuantizer,
    Quantizer,
    ResidualQuantizer,
    VectorQuantizer,
)
from tests.vq.quantizers.makers import some_vectors

STAGES: dict[str, Callable[[], Quantizer]] = {
    "ema": lambda: VectorQuantizer(8, 4, kmeans_iterations=0),
    "cosine": lambda: VectorQuantizer(8, 4, distance="cosine", kmeans_iterations=0),
    "learned": lambda: LearnedVectorQuantizer(8, 4, kmeans_iterations=0),
    "factorized": lambda: FactorizedQuantizer(VectorQuantizer(8, 3, distance="cosine", kmeans_iterations=0), 4),
}
each_stage = pytest.mark.parametrize("name", STAGES)


def stack(name: str, **arguments: object) -> ResidualQuantizer:
    torch.manual_seed(0)
    return ResidualQuantizer(STAGES[name](), 3, **arguments)  # type: ignore[arg-type]


def squared_error(layer: ResidualQuantizer, vectors: Tensor, depth: int = 3, mask: Tensor | None = None) -> Tensor:
    result = layer(vectors, mask, depth=depth)
    torch.testing.assert_close(layer.decode(result.indices), result.quantized, rtol=0, atol=1e-6)
    return (result.quantized - vectors).square().sum(-1)


@each_stage
def test_never_worse_than_greedy(name: str) -> None:
    layer, vectors = stack(name).eval(), some_vectors(40, 5, 4)
    mask = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) < 0.7
    for depth in (1, 2, 3):
        layer.beam = 1
        greedy = squared_error(layer, vectors, depth)
        layer.beam = 3
        found = squared_error(layer, vectors, depth)
        assert (found <= greedy + 1e-5).all()
        masked = layer(vectors.masked_fill(~mask.unsqueeze(-1), torch.nan), mask, depth=depth)
        assert torch.equal(masked.indices[mask], layer(vectors, depth=depth).indices[mask])
        assert (masked.indices[~mask] == -1).all()
    assert (found < greedy - 1e-5).any()


@each_stage
def test_a_beam_of_all_sums_finds_the_least_error(name: str) -> None:
    layer, vectors = stack(name, beam=64).eval(), some_vectors(30, 4)
    every = torch.tensor(list(itertools.product(range(8), repeat=3)))
    least = torch.cdist(vectors, layer.decode(every)).square().amin(-1)
    torch.testing.assert_close(squared_error(layer, vectors), least, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ema", "learned"])
def test_stages_learn_from_the_codes_that_were_found(name: str) -> None:
    layer, vectors = stack(name, beam=3), some_vectors(50, 4).requires_grad_()
    result = layer(vectors)
    assert not torch.equal(result.indices, stack(name)(vectors).indices)
    (result.quantized.sum() + result.loss).backward()
    rest = vectors.detach()
    for stage, part in enumerate(layer.codebooks()):
        index = result.indices[:, stage]
        batch = part._window.batch  # type: ignore[attr-defined]
        assert torch.equal(batch.counts, index.bincount(minlength=8).float())
        sums = torch.zeros(8, 4).index_add_(0, index, rest)
        torch.testing.assert_close(batch.sums, sums)
        rest = rest - part.decode(index).detach()
    torch.testing.assert_close(layer.decode(result.indices), result.quantized)


@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
@each_stage
def test_dropout_with_a_beam(name: str) -> None:
    """Each example is searched for its own number of stages."""
    layer, vectors = stack(name, beam=3, dropout=[1.0, 0.0, 1.0]), some_vectors(60, 2, 4)
    result = layer(vectors)
    depths = (result.indices >= 0).sum(-1)
    assert set(depths.unique().tolist()) == {1, 3}
    assert (depths[:, :1] == depths).all()
    layer.eval()
    for depth in (1, 3):
        alone = layer(vectors[depths[:, 0] == depth], depth=depth)
        assert torch.equal(result.indices[depths[:, 0] == depth, :, :depth], alone.indices)


def test_the_first_pass_starts_the_stages() -> None:
    """The start of a stage is from the residuals of the one before it, so that pass is greedy."""
    torch.manual_seed(0)
    layers = [ResidualQuantizer(VectorQuantizer(8, 4), 3, beam=beam) for beam in (1, 4)]
    layers[1].load_state_dict(layers[0].state_dict())
    vectors = some_vectors(100, 4)
    scale = nn.Parameter(torch.ones(()))
    first = [layer(scale * vectors).indices for layer in layers]
    assert torch.equal(first[0], first[1])
    second = [layer(scale * vectors) for layer in layers]
    error = [(each.quantized - vectors).square().sum(-1) for each in second]
    assert (error[1] <= error[0] + 1e-5).all()
    assert (error[1] < error[0] - 1e-5).any()


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="keeps 1 sum of codes or more, got 0"):
        ResidualQuantizer(VectorQuantizer(8, 4), 2, beam=0)
    with pytest.raises(
        ValueError, match=r"beam=2 searches among the codes of stages that look up .*, not of GumbelQuantizer"
    ):
        ResidualQuantizer(GumbelQuantizer(8, 4), 2, beam=2)
    with pytest.raises(ValueError, match="1 of 2 vectors to quantise are not finite"):
        stack("ema", beam=2).eval()(torch.tensor([[torch.nan] * 4, [0.0] * 4]))
