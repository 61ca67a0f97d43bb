"""The networks of a search, trained as one, against a loop over members."""

import torch
from torch import Tensor
from torch.nn.functional import gelu

from discrete_lightning.selection.features.feature_network import FeatureNetwork
from tests.references.inputs import seeded

PRODUCTS = [(0, 1), (2, 2), (0, 3, 3), (1, 2, 3)]


def naive(network: FeatureNetwork, z: Tensor, member: int) -> Tensor:
    """One network on (B, D), in float64."""
    p = {name: each[member].detach().double() for name, each in network.named_parameters()}
    z = z.double()
    products = [torch.stack([z[:, j] for j in each]).prod(0).clamp(-4, 4) for each in network.products]
    seen = torch.stack([*z.unbind(1), *products], 1)
    first = torch.cat([p["first"], p["product"]])
    hidden = gelu(seen @ first + p["first_bias"])
    hidden = gelu(hidden @ p["second"] + p["second_bias"])
    return hidden @ p["last"] + p["last_bias"] + seen @ p["skip"]


def filled(network: FeatureNetwork) -> FeatureNetwork:
    with torch.no_grad():
        for each in network.parameters():
            each.copy_(torch.randn(each.shape, generator=seeded(each.numel())) / 2)
    return network


def test_values() -> None:
    for products in ([], PRODUCTS):
        network = filled(FeatureNetwork(4, 2, members=3, hidden=6, products=products))
        z = torch.randn(3, 7, 4, generator=seeded(1)) * 2
        wanted = torch.stack([naive(network, z[m], m) for m in range(3)])
        torch.testing.assert_close(network(z).double(), wanted, rtol=1e-5, atol=1e-5)


def test_a_closed_column_closes_its_products() -> None:
    network = filled(FeatureNetwork(4, 2, members=3, hidden=6, products=PRODUCTS))
    z = torch.randn(3, 7, 4, generator=seeded(1))
    z[..., 3] = 0
    without = filled(FeatureNetwork(4, 2, members=3, hidden=6, products=PRODUCTS))
    with torch.no_grad():
        without.product[:, 2:] = 0
        without.skip[:, 6:] = 0
        without.first[:, 3] = 0
    torch.testing.assert_close(network(z), without(z))


def test_members_do_not_mix() -> None:
    network = FeatureNetwork(4, 2, members=3, products=PRODUCTS)
    z = torch.randn(3, 7, 4, generator=seeded(1))
    found = torch.autograd.grad(network(z)[1].square().sum(), list(network.parameters()))
    for gradient in found:
        assert gradient[1].any() or gradient.shape[1:] == network.skip.shape[1:]
        assert not gradient[[0, 2]].any()


def test_first_weights_come_from_the_generator() -> None:
    pair = [FeatureNetwork(4, 2, generator=seeded(0)) for _ in range(2)]
    before = torch.get_rng_state()
    FeatureNetwork(4, 2, generator=seeded(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(*(each.parameters() for each in pair), strict=True))
