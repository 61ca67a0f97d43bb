"""Several small networks on the columns of a table, trained as one: a network for each fold."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from discrete_lightning.layers.constant_buffers import ConstantBuffers, real_device
from discrete_lightning.selection.features.interactions import Product

_LIMIT = 4.0  # deviations: products of wild rows would dominate


class FeatureNetwork(ConstantBuffers):
    """M networks of two hidden layers with a linear skip, whose first layer sees columns and products of columns.

    Args:
        columns: D.
        outputs: numbers that each network gives.
        members: M.
        hidden: units of a layer.
        products: indices of the columns of each product (`screened_products`).
        generator: of the first weights.

    Example:
        >>> network = FeatureNetwork(5, outputs=2, members=3, products=[(0, 1)])
        >>> network(torch.randn(3, 7, 5)).shape
        torch.Size([3, 7, 2])
    """

    places: Tensor

    def __init__(
        self,
        columns: int,
        outputs: int,
        members: int = 5,
        hidden: int = 32,
        products: Sequence[Product] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.products = [tuple(each) for each in products]
        # a product of two has a third factor of ones: one gather and one product for all
        wide = [[*each, *[columns] * (3 - len(each))] for each in self.products]
        places = torch.tensor(wide, dtype=torch.int64, device=real_device()).reshape(len(wide), 3)
        self.register_constant("places", places)
        many = len(self.products)

        def normal(*shape: int, deviation: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) * deviation)

        self.first = normal(members, columns, hidden, deviation=columns**-0.5)
        self.first_bias = normal(members, 1, hidden, deviation=0.5)
        self.product = normal(members, many, hidden, deviation=max(1, many) ** -0.5)
        self.second = normal(members, hidden, hidden, deviation=(2 / hidden) ** 0.5)
        self.second_bias = nn.Parameter(torch.zeros(members, 1, hidden))
        self.last = normal(members, hidden, outputs, deviation=math.sqrt(0.1 / hidden))
        self.last_bias = nn.Parameter(torch.zeros(members, 1, outputs))
        self.skip = nn.Parameter(torch.zeros(members, columns + many, outputs))

    def forward(self, z: Tensor) -> Tensor:
        """Outputs (M, B, outputs) of gated columns z (M, B, D)."""
        hidden = torch.baddbmm(self.first_bias, z, self.first)
        if self.products:
            padded = torch.cat([z, torch.ones_like(z[..., :1])], -1)
            products = padded[..., self.places].prod(-1).clamp(-_LIMIT, _LIMIT)
            hidden = torch.baddbmm(hidden, products, self.product)
            z = torch.cat([z, products], -1)
        hidden = nn.functional.gelu(hidden)
        hidden = nn.functional.gelu(torch.baddbmm(self.second_bias, hidden, self.second))
        return torch.baddbmm(self.last_bias, hidden, self.last) + torch.bmm(z, self.skip)
