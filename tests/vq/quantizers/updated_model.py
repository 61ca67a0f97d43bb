"""A network with a quantiser, for the tests of when its codes are updated."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from discrete_lightning.nn import LinearGumbelQuantizer, Quantizer
from discrete_lightning.vq.quantizers.started_codebook import StartedCodebook
from tests.vq.quantizers.makers import ALL


def updated(module: nn.Module) -> list[StartedCodebook]:
    """The codebooks that change after a step; the linear form has nothing to change without a start."""
    found = [each for each in module.modules() if isinstance(each, StartedCodebook)]
    return [each for each in found if not isinstance(each, LinearGumbelQuantizer)]


# Every quantiser whose codes are updated, alone and in stacks
UPDATED = [name for name in ALL if updated(ALL[name]())]
# One of each kind
FEW = ["ema", "learned", "gumbel", "residual_ema_cosine", "product_learned"]
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

    def codebooks(self) -> list[StartedCodebook]:
        return updated(self)

    def updates(self) -> set[int]:
        return {int(each.updates) for each in self.codebooks()}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
