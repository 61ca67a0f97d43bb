"""What an intrinsic reward is."""

from collections.abc import Sequence

from torch import Tensor, nn

from discrete_lightning.control.rollout import Rollout
from discrete_lightning.layers.recorded import Recorded


class IntrinsicBonus(Recorded, nn.Module):
    """Adds to the rewards of a rollout what its steps are worth for exploration. It learns from all that it is given."""

    def check(self, states: int | None, actions: Sequence[int]) -> None:
        """For the start of a fit: raises ValueError if the bonus cannot tell states of this environment apart."""

    def forward(self, rollout: Rollout) -> Tensor:
        """The bonus of each step, (T, n)."""
        raise NotImplementedError
