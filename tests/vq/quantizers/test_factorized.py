"""Codes among few dimensions, between two learned maps."""

import pytest
import torch

from discrete_lightning.nn import FactorizedQuantizer, GumbelQuantizer, ResidualQuantizer, VectorQuantizer
from tests.vq.quantizers.makers import some_vectors


def test_values_and_gradients() -> None:
    """Against U q(D x) in float64, with the gradient of U D x for x and that of both maps."""
    torch.manual_seed(0)
    layer, vectors = FactorizedQuantizer(VectorQuantizer(8, 3), 6).eval(), some_vectors(20, 6).requires_grad_()
    result, weights = layer(vectors), some_vectors(20, 6, seed=2)
    down, up, codes = layer.down.double(), layer.up.double(), layer.quantizer.codes.double()  # type: ignore[union-attr]
    low = vectors.double() @ down.t()
    nearest = torch.cdist(low, codes).argmin(-1)
    assert torch.equal(result.indices, nearest)
    torch.testing.assert_close(result.quantized, (codes[nearest] @ up.t()).float())
    torch.testing.assert_close(result.loss, (low - codes[nearest]).square().mean().float())
    torch.testing.assert_close(layer.decode(nearest), result.quantized)
    assert not layer.decode(torch.tensor(-1)).any()
    grads = torch.autograd.grad((result.quantized * weights).sum(), [vectors, layer.down, layer.up])
    expected = ((low - low.detach() + codes[nearest]) @ up.t() * weights).sum()
    for mine, theirs in zip(grads, torch.autograd.grad(expected, [vectors, layer.down, layer.up]), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_it_starts_as_a_projection() -> None:
    torch.manual_seed(0)
    layer = FactorizedQuantizer(VectorQuantizer(8, 3), 6)
    product = layer.up @ layer.down
    torch.testing.assert_close(product @ product, product)
    before = layer.down.clone()
    layer.reset_parameters()
    assert not torch.equal(layer.down, before)


def test_each_stage_has_maps_of_its_own_and_all_codes_live() -> None:
    """A stack of cosine codes of 4 dimensions, trained to reconstruct vectors of 8."""
    torch.manual_seed(0)
    layer = ResidualQuantizer(FactorizedQuantizer(VectorQuantizer(16, 4, distance="cosine"), 8), 4, dropout=0.5)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    for step in range(150):
        vectors = some_vectors(128, 8, seed=step)
        result = layer(vectors)
        optimizer.zero_grad()
        ((result.quantized - vectors).square().mean() + result.loss).backward()
        optimizer.step()
    layer.eval()
    vectors = some_vectors(1000, 8, seed=1000)
    errors = [(layer(vectors, depth=depth).quantized - vectors).square().mean().item() for depth in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.6  # of 1
    indices = layer(vectors).indices
    assert all(len(column.unique()) == 16 for column in indices.unbind(-1))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="dim=3 is less than the quantiser's, 4"):
        FactorizedQuantizer(VectorQuantizer(8, 4), 3)
    layer = FactorizedQuantizer(GumbelQuantizer(8, 4), 6)
    assert layer(some_vectors(5, 6)).logits.shape == (5, 8)
    with pytest.raises(ValueError, match="1 of 1 vectors to quantise are not finite"):
        layer(torch.full((1, 6), torch.nan))
