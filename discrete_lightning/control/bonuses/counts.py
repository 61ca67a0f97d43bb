"""An intrinsic reward for state-action pairs that were seen seldom (Strehl & Littman 2008, MBIE-EB,
https://doi.org/10.1016/j.jcss.2007.08.009, equation 7).

    bonus(s, a) = weight / sqrt(N(s, a))

N counts all processes' visits, that of the step itself included.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from discrete_lightning.control.bonuses.base import IntrinsicBonus
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.distributed import all_reduce_sum
from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.layers.float32 import Float32State
from discrete_lightning.layers.private_state import PrivateState


class CountBonus(PrivateState, Float32State, IntrinsicBonus):
    """weight / sqrt(N(s, a)), of environments with finitely many states.

    Args:
        weight: of a pair's first visit, > 0, in units of the reward.

    Raises:
        ValueError: if the weight is not positive; before training, if observations are not one of finitely many states.
    """

    visits: Tensor

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        check_positive(weight=weight)
        self.weight = weight
        self.register_private("visits", torch.zeros(0, 0, dtype=torch.float32))

    def check(self, states: int | None, actions: Sequence[int]) -> None:
        if states is None or len(actions) > 1:
            raise ValueError(
                "CountBonus counts the visits of finitely many states with one action at a time, and this environment's "
                f"observations are {'not one of finitely many' if states is None else f'of {states} states'}, with "
                f"{len(actions)} action(s) at once: take DeepSea, GridWorld, FrozenLake-v1 or the like"
            )
        if self.visits.shape != (states, actions[0]):
            self.visits = torch.zeros(states, actions[0], dtype=torch.float32, device=self.visits.device)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:  # type: ignore[no-untyped-def]
        found = state_dict.get(f"{prefix}visits")
        if isinstance(found, Tensor) and found.shape != self.visits.shape and not self.visits.numel():
            self.visits = torch.zeros_like(found, device=self.visits.device)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def forward(self, rollout: Rollout) -> Tensor:
        states, actions = rollout.observations.argmax(-1), rollout.actions[..., 0]
        new = torch.zeros_like(self.visits)
        new.view(-1).index_add_(0, (states * new.shape[1] + actions).flatten(), rollout.counted.flatten().to(new))
        self.visits.add_(all_reduce_sum(new))
        bonus = self.weight * self.visits[states, actions].clamp_min(1.0).rsqrt()
        return torch.where(rollout.counted, bonus, 0.0)
