"""Every quantiser, small: the table that the tests of what holds for all of them go through."""

from collections.abc import Callable

import torch
from torch import Tensor

from discrete_lightning.nn import (
    DifferentiableVectorQuantizer,
    FactorizedQuantizer,
    FiniteScalarPerturbation,
    FiniteScalarQuantizer,
    GumbelQuantizer,
    IndexBackpropagationQuantizer,
    LargeGumbelQuantizer,
    LearnedVectorQuantizer,
    LinearGumbelQuantizer,
    LookupFreeQuantizer,
    ProductQuantizer,
    Quantizer,
    ResidualQuantizer,
    SimVectorQuantizer,
    VectorQuantizer,
)

Maker = Callable[[], Quantizer]
SINGLE: dict[str, Maker] = {
    "ema": lambda: VectorQuantizer(8, 4, commitment=0.25),
    "ema_cosine": lambda: VectorQuantizer(8, 4, distance="cosine"),
    "factorized": lambda: FactorizedQuantizer(VectorQuantizer(8, 3, distance="cosine"), 4),
    "ema_rotation": lambda: VectorQuantizer(8, 4, gradient="rotation"),
    "learned": lambda: LearnedVectorQuantizer(8, 4),
    "learned_cosine_rotation": lambda: LearnedVectorQuantizer(8, 4, distance="cosine", gradient="rotation"),
    "gumbel": lambda: GumbelQuantizer(8, 4),
    "linear_gumbel": lambda: LinearGumbelQuantizer(8, 4),
    "large_gumbel": lambda: LargeGumbelQuantizer(8, 4, choice_entropy=0.1, marginal_entropy=0.2),
    "index_backpropagation": lambda: IndexBackpropagationQuantizer(8, 4),
    "index_backpropagation_drawn": lambda: IndexBackpropagationQuantizer(8, 4, negatives=4),
    "sim": lambda: SimVectorQuantizer(8, 4),
    "differentiable": lambda: DifferentiableVectorQuantizer(8, 4),
    "perturbation": lambda: FiniteScalarPerturbation([3, 2, 5, 4]),
    "finite_scalar": lambda: FiniteScalarQuantizer([3, 2, 5, 4]),
    "lookup_free": lambda: LookupFreeQuantizer(4),
}
ALL: dict[str, Maker] = {
    **SINGLE,
    **{f"residual_{name}": lambda make=make: ResidualQuantizer(make(), 3) for name, make in SINGLE.items()},  # type: ignore[misc]
    **{f"product_{name}": lambda make=make: ProductQuantizer(make(), 2) for name, make in SINGLE.items()},  # type: ignore[misc]
    "residual_of_products": lambda: ResidualQuantizer(ProductQuantizer(VectorQuantizer(8, 2), 2), 3),
    "product_of_residuals": lambda: ProductQuantizer(ResidualQuantizer(GumbelQuantizer(8, 2), 3), 2),
    "residual_of_product_of_signs": lambda: ResidualQuantizer(ProductQuantizer(LookupFreeQuantizer(2), 2), 2),
}


def build(name: str) -> Quantizer:
    torch.manual_seed(0)
    return ALL[name]()


def some_vectors(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
