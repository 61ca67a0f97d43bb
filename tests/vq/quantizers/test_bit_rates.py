"""Parts of residual stacks and of products: the first stages, dropped ones, stages of different sizes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from discrete_lightning.nn import (
    FiniteScalarQuantizer,
    GumbelQuantizer,
    LearnedVectorQuantizer,
    LookupFreeQuantizer,
    ProductQuantizer,
    Quantizer,
    ResidualQuantizer,
    VectorQuantizer,
)
from tests.vq.quantizers.makers import ALL, build, some_vectors

RESIDUAL = [name for name in ALL if name.startswith("residual")]
each_stack = pytest.mark.parametrize("name", RESIDUAL)


def stack(name: str) -> ResidualQuantizer:
    layer = build(name)
    assert isinstance(layer, ResidualQuantizer)
    return layer


@each_stack
def test_the_first_stages(name: str) -> None:
    layer, vectors = stack(name).eval(), some_vectors(6, 5, 4)
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.7
    whole = layer(vectors)
    where = vectors.ndim - 1
    for depth in range(1, len(layer.parts()) + 1):
        first = layer(vectors, depth=depth)
        assert torch.equal(first.indices, whole.indices.narrow(where, 0, depth))
        torch.testing.assert_close(layer.decode(first.indices), first.quantized, rtol=0, atol=1e-6)
        dropped = whole.indices.clone()
        dropped.narrow(where, depth, dropped.shape[where] - depth).fill_(-1)
        torch.testing.assert_close(layer.decode(dropped), first.quantized, rtol=0, atol=1e-6)
        masked = layer(vectors, mask, depth=depth)
        assert torch.equal(masked.indices[mask], first.indices[mask])
        assert (masked.indices[~mask] == -1).all()
    for depth in (0, len(layer.parts()) + 1):
        with pytest.raises(ValueError, match=rf"depth must be 1 to .*, got {depth}"):
            layer(vectors, depth=depth)
    with pytest.raises(ValueError, match=r"decodes indices of shape \(\.\.\., 1 to"):
        layer.decode(whole.indices.narrow(where, 0, 0))


@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
@each_stack
def test_dropout_is_a_prefix_of_each_example(name: str) -> None:
    layer, vectors = stack(name), some_vectors(200, 3, 4)
    mask = torch.arange(3) < torch.arange(200).unsqueeze(1) % 4
    layer.dropout = 0.5
    stages = len(layer.parts())
    for real in (None, mask):
        torch.manual_seed(0)
        result = layer(vectors, real)
        indices = result.indices if real is None else result.indices[real]
        kept = (indices != -1).reshape(-1, stages, indices[0].numel() // stages if real is not None else 1)
        if real is None:
            kept = (indices != -1).reshape(200, 3, stages, -1)
            assert (kept == kept[:, :1, :, :1]).all()  # alike within an example
            depths = kept[:, 0, :, 0].sum(-1)
            shares = depths.bincount(minlength=stages + 1) / 200
            assert shares[0] == 0
            expected = torch.full((stages,), 0.5 / stages)
            expected[-1] += 0.5
            torch.testing.assert_close(shares[1:], expected, rtol=0, atol=0.15)  # over 4 standard errors
        assert (kept[..., :-1, :] >= kept[..., 1:, :]).all()
        assert result.loss.isfinite()
    layer.eval()
    result = layer(vectors)
    assert (result.indices >= 0).all()


def test_what_is_dropped_teaches_nothing() -> None:
    """The same as a pass of each depth's examples on their own."""
    torch.manual_seed(0)
    layer = ResidualQuantizer(LearnedVectorQuantizer(8, 4, kmeans_iterations=0), 3, dropout=1.0)
    vectors = some_vectors(40, 4).requires_grad_()
    result = layer(vectors)
    depths = (result.indices != -1).sum(-1)
    losses, rest = torch.zeros(()), vectors
    for stage, part in enumerate(layer.parts()):
        kept = depths > stage
        alone = part(rest[kept])
        losses = losses + alone.loss * kept.float().mean()
        assert torch.equal(result.indices[kept, stage], alone.indices)
        rest = rest.index_put((kept,), rest[kept] - alone.quantized.detach())
    torch.testing.assert_close(result.loss, losses)
    torch.testing.assert_close(result.quantized, layer.decode(result.indices))
    result.quantized.sum().backward()
    torch.testing.assert_close(vectors.grad, torch.ones(40, 4))


@pytest.mark.parametrize("name", ["residual_ema", "residual_learned", "residual_gumbel", "residual_of_products"])
def test_training_with_dropout(name: str) -> None:
    """The fewer stages, the larger the error, and every stage learns."""
    layer, scale = stack(name), nn.Parameter(torch.ones(()))
    layer.dropout = 1.0
    optimizer = torch.optim.SGD([scale, *layer.parameters()], lr=0.05)
    before = [next(iter(part.codebooks())).codes.detach().clone() for part in layer.parts()]
    for step in range(3):
        result = layer(scale * some_vectors(60, 4, seed=step))
        optimizer.zero_grad()
        ((result.quantized - 1).square().mean() + result.loss).backward()
        optimizer.step()
    after = [next(iter(part.codebooks())).codes for part in layer.parts()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


STAGES: dict[str, Callable[[], list[Quantizer]]] = {
    "sizes": lambda: [VectorQuantizer(16, 4), VectorQuantizer(8, 4), VectorQuantizer(5, 4)],
    "kinds": lambda: [VectorQuantizer(16, 4), LookupFreeQuantizer(4), LearnedVectorQuantizer(5, 4)],
    "gumbel": lambda: [GumbelQuantizer(8, 4), GumbelQuantizer(8, 4, temperature=0.5)],
    "grids": lambda: [FiniteScalarQuantizer([5] * 4), FiniteScalarQuantizer([3] * 4)],
}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("wrap", [ResidualQuantizer, ProductQuantizer])
def test_a_list_of_quantisers(name: str, wrap: Callable[[list[Quantizer]], Quantizer]) -> None:
    torch.manual_seed(0)
    parts = STAGES[name]()
    layer = wrap(parts)
    assert layer.parts() == parts  # type: ignore[attr-defined]
    vectors = some_vectors(30, 7, layer.dim).requires_grad_()
    result = layer(vectors)
    (result.quantized.sum() + result.loss).backward()
    assert vectors.grad.any()
    result = layer.eval()(vectors)
    sizes = torch.tensor([each.num_codes for each in layer.codebooks()])
    assert result.indices.shape == (30, 7, len(parts))
    assert (result.indices < sizes).all()
    torch.testing.assert_close(layer.decode(result.indices), result.quantized, rtol=0, atol=1e-6)


def test_groups_of_different_widths() -> None:
    parts = [VectorQuantizer(16, 3), VectorQuantizer(4, 1)]
    layer, vectors = ProductQuantizer(parts).eval(), some_vectors(30, 4)
    result, alone = layer(vectors), [parts[0](vectors[:, :3]), parts[1](vectors[:, 3:])]
    assert torch.equal(result.indices, torch.stack([each.indices for each in alone], 1))
    torch.testing.assert_close(result.loss, (3 * alone[0].loss + alone[1].loss) / 4)


@pytest.mark.parametrize("wrap", [ResidualQuantizer, ProductQuantizer])
def test_lists_that_do_not_fit(wrap: Callable[..., Quantizer]) -> None:
    one = VectorQuantizer(8, 4)
    for arguments, words in (
        ((one,), "needs .* >= 1, got None; or a list"),
        (([],), "a list of 0 quantisers"),
        (([one, VectorQuantizer(8, 4)], 3), "a list of 2 quantisers and .*=3; leave .* out"),
        (([one, one],), "twice"),
        (([one, GumbelQuantizer(8, 4)],), "got VectorQuantizer, GumbelQuantizer"),
        (([GumbelQuantizer(8, 4), GumbelQuantizer(7, 4)],), "over equally many codes"),
        (([one, ProductQuantizer(VectorQuantizer(8, 2), 2)],), "one index_shape"),
    ):
        with pytest.raises(ValueError, match=words):
            wrap(*arguments)
    with pytest.raises(ValueError, match="one dim are needed, got 4, 3"):
        ResidualQuantizer([one, VectorQuantizer(8, 3)])
    for dropout in (-0.1, 1.5):
        with pytest.raises(ValueError, match=r"share in \[0, 1\]"):
            ResidualQuantizer(VectorQuantizer(8, 4), 2, dropout)


@pytest.mark.filterwarnings("ignore:.*no optimiser trains what it quantises")
def test_dropout_by_weights() -> None:
    layer, vectors = ResidualQuantizer(VectorQuantizer(8, 4), 3, dropout=[3, 0, 1]), some_vectors(2000, 4)
    depths = (layer(vectors).indices >= 0).sum(-1)
    shares = depths.bincount(minlength=4) / 2000
    # 0.04 is over 4 standard errors
    torch.testing.assert_close(shares, torch.tensor([0, 0.75, 0, 0.25]), rtol=0, atol=0.04)
    layer.dropout = [0.0, 1.0, 0.0]
    assert ((layer(vectors).indices >= 0).sum(-1) == 2).all()
    assert "dropout=(0.0, 1.0, 0.0)" in repr(layer)
    for weights in ([1.0, 1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, float("nan")]):
        with pytest.raises(ValueError, match="dropout as a list has a weight >= 0 for each of 1 to 3 stages"):
            layer.dropout = weights


@pytest.mark.parametrize("beam", [1, 3])
def test_dead_codes_of_each_level_are_revived_from_its_own_residuals(beam: int) -> None:
    """With dropout that leaves the last stage a tenth of the examples; codes of all stages but a few lie where nothing is."""
    torch.manual_seed(0)
    layer = ResidualQuantizer(
        VectorQuantizer(16, 4, kmeans_iterations=0, decay=0.5), 3, dropout=[0.6, 0.3, 0.1], beam=beam
    )
    for part in layer.parts():
        part.codes[2:] = 100.0  # type: ignore[index, operator]
    scale = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([scale], lr=0.0)
    for step in range(40):
        result = layer(scale * some_vectors(400, 4, seed=step))
        optimizer.zero_grad()
        (result.quantized.sum() + result.loss).backward()
        optimizer.step()
    indices = layer.eval()(some_vectors(2000, 4, seed=99)).indices
    assert [len(column.unique()) for column in indices.unbind(-1)] == [16, 16, 16]
    sizes = [float(part.codes.norm(dim=-1).mean()) for part in layer.parts()]  # type: ignore[operator, union-attr]
    assert sizes[0] > 1.2 * sizes[1] > 1.44 * sizes[2]
