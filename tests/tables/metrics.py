"""What the metrics of the table are updated with."""

import torch
from torch import Tensor

_LOSSES = ("RelaxationGap",)


def arguments(name: str, seed: int) -> tuple[Tensor, ...]:
    """Arguments of `update`: indices in [0, 4), the losses of the same examples under two models, or
    what a text metric takes."""
    generator = torch.Generator().manual_seed(seed)
    if name in _LOSSES:
        return torch.rand(6, generator=generator), torch.rand(6, generator=generator)
    if name == "CollisionRate":
        return torch.randint(3, (9, 2), generator=generator), torch.randint(1000, (9,), generator=generator)
    if name in ("MelDistance", "ScaleInvariantSNR"):
        return torch.randn(2, 400, generator=generator), torch.randn(2, 400, generator=generator)
    if name == "NatsPerCharacter":
        return torch.rand(6, generator=generator), torch.randint(1, 9, (6,), generator=generator)
    indices = torch.randint(4, (9,), generator=generator)
    return (indices > 1 if name == "ShareInForm" else indices,)
