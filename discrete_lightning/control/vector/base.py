"""What a policy sees of environments that are stepped together: `VectorEnvironments`."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from discrete_lightning.protocols import OutsideFault


class Observed(NamedTuple):
    """What there is to act on.

    Attributes:
        observations: float32 (n, *observation_shape); a state that is one of finitely many is one-hot.
        legal: bool (n, sum of actions), the actions of each component one after another, False where an action is illegal;
            None: all are legal.
    """

    observations: Tensor
    legal: Tensor | None = None


class Step(NamedTuple):
    """What a step led to.

    Attributes:
        next: what to act on next; where an episode has ended, that is the first observation of another one.
        rewards: float32 (n,).
        terminated: bool (n,): the episode has come to an end of its own, after which nothing is earned.
        truncated: bool (n,): a time limit cut the episode off; what its last observation is worth belongs in targets.
        final: float32 (n, *observation_shape), what the step itself led to: as in `next`, save where an episode has ended.
        counted: bool (n,): False where the environment only reset itself and ignored the action: no transition.
    """

    next: Observed
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    final: Tensor
    counted: Tensor


class EnvironmentFault(OutsideFault):
    """An environment has failed: what went wrong, and the index of the environment."""


class VectorEnvironments(ABC):
    """n environments that are stepped together; one that has ended starts another episode by itself.

    Attributes:
        name: of the environment.
        count: n.
        first: number of the first of them among those of all processes; seeds and noise go by this number.
        observation_shape: of one observation.
        states: their number where an observation is one of finitely many (then it is one-hot), else None.
        actions: number of actions of each component; one number unless several actions are taken at once.
        time_limit: the most steps of an episode; None: no limit.
        reward_threshold: mean return from which the task counts as solved; None: nobody has said.
        resumes: whether `state_dict` holds all there is, so that a resumed run goes on to the bit, or says that it does not.
    """

    name: str
    count: int
    first: int = 0
    observation_shape: tuple[int, ...]
    states: int | None = None
    actions: tuple[int, ...]
    time_limit: int | None = None
    reward_threshold: float | None = None
    resumes: bool = False

    @abstractmethod
    def reset(self, seed: int) -> Observed:
        """Starts an episode in each environment; environment i gets the seed `seed + first + i`."""

    @abstractmethod
    def step(self, actions: Tensor, active: Tensor | None = None) -> Step:
        """Takes a step in each environment.

        Args:
            actions: int64 (n, components), on any device.
            active: bool (n,): environments to step; the others may stand still, and what is returned of them means nothing.

        Raises:
            EnvironmentFault: an environment raised an exception or broke its promises; the message names its index.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs; empty where episodes start anew."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> Observed:
        """Goes on from `state_dict`; returns what there is to act on.

        Raises:
            EnvironmentFault: the environments do not come to where they were; they must be reset.
        """
        raise NotImplementedError

    def frame(self, index: int = 0) -> Any:
        """A pillow image of environment `index` as it is now.

        Raises:
            EnvironmentFault: it cannot be drawn; the message says what to install.
        """
        raise EnvironmentFault(f"{self.name} cannot be drawn")

    def close(self) -> None:  # noqa: B027
        """Frees what the environments hold."""


def all_counted(rewards: Tensor) -> Tensor:
    """The mask of a step in which every row is a transition."""
    return torch.ones_like(rewards, dtype=torch.bool)
