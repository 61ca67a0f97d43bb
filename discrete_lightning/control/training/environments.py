"""Environments as a data module: what to act in, and how many rollouts are an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from discrete_lightning.control.environments.base import DifferentiableEnv
from discrete_lightning.control.training.environment_source import EnvironmentSource
from discrete_lightning.control.vector.base import VectorEnvironments
from discrete_lightning.data.errors import DataError


class Count:
    """A loader of the numbers 0 to `length - 1`: batches that only count.

    It is no `DataLoader`, which Lightning would split among the processes: each gets all of the numbers. An epoch that is
    resumed in its middle starts to count anew, and Lightning ends it after the batches that were left.

    Args:
        length: how many.
    """

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.length))

    def state_dict(self) -> dict[str, int]:
        """Nothing: to Lightning, a loader with this method can be resumed in the middle of an epoch."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Does nothing."""


class Environments(LightningDataModule):
    """Environments to act in. A training batch stands for one rollout: it is a number, and the module acts.

    An `environment` is
    - an id of gymnasium, "CartPole-v1", or "module:Id-v0" where the module has to be imported first;
    - an environment in torch, by name: "CartPole", "Acrobot", "MountainCar", "GridWorld", "DeepSea", or an object;
    - a class or function of your own, "my_module:MyEnv", which gives a `gymnasium.Env`, a `DifferentiableEnv` or, if it has an
      argument `num_envs`, a `gymnasium.vector.VectorEnv`. One that ends its episodes itself has the most steps of one as its
      attribute `time_limit`.

    Args:
        environment: see above.
        number: of environments that each process steps together.
        steps: of a rollout, in each environment.
        updates: rollouts in an epoch: its training batches.
        episodes: of a validation, over all processes.
        test_episodes: of a test, likewise.
        seed: of the episodes; environment i of all processes has `seed + i`.
        time_limit: the most steps of an episode, in place of the environment's own; a `VectorEnv` keeps its own.
        arguments: of the environment's constructor, such as {"is_slippery": false}.
        masks: whether `info["action_mask"]` says which actions are legal.
        processes: whether each gymnasium environment has a process of its own; for slow ones.

    Raises:
        ValueError: a number is out of its range.
        DataError: (in `setup`) there is no such environment, it cannot be made, or a policy cannot act in it.

    Example:
        >>> data = Environments("CartPole-v1", number=2)
        >>> data.observation_shape, data.actions, data.time_limit, data.reward_threshold
        ((4,), (2,), 500, 475.0)
        >>> data.make(2).reset(seed=0).observations.shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        environment: str | DifferentiableEnv = "CartPole-v1",
        number: int = 8,
        steps: int = 32,
        updates: int = 8,
        episodes: int = 10,
        test_episodes: int = 100,
        seed: int = 0,
        time_limit: int | None = None,
        arguments: dict[str, Any] | None = None,
        masks: bool = True,
        processes: bool = False,
    ) -> None:
        super().__init__()
        least = {"number": 1, "steps": 1, "updates": 1, "episodes": 1, "test_episodes": 1, "seed": 0, "time_limit": 1}
        given = {
            "number": number,
            "steps": steps,
            "updates": updates,
            "episodes": episodes,
            "test_episodes": test_episodes,
            "seed": seed,
            "time_limit": time_limit,
        }
        for name, value in given.items():
            if value is not None and value < least[name]:
                raise ValueError(f"{name}={value}: expected {least[name]} or more.")
        self.number, self.steps, self.updates = number, steps, updates
        self.episodes, self.test_episodes, self.seed, self.processes = episodes, test_episodes, seed, processes
        self._source = EnvironmentSource(environment, time_limit, arguments or {}, masks, processes)

    @cached_property
    def _facts(self) -> "_Facts":
        one = self.make(1, total=1)
        try:
            facts = _Facts(
                one.name,
                one.observation_shape,
                one.states,
                one.actions,
                one.time_limit,
                one.reward_threshold,
                hasattr(one, "differentiable_step"),
            )
        finally:
            one.close()
        if facts.time_limit is None:
            raise DataError(
                f"{facts.name} has no time limit, and a policy may never end an episode of it: set time_limit, the most "
                "steps of an episode (on the command line: --data.time_limit 1000)"
            )
        return facts

    @property
    def name(self) -> str:  # type: ignore[override]
        """As gymnasium has it, or that of a class."""
        return self._facts.name

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of one observation."""
        return self._facts.observation_shape

    @property
    def states(self) -> int | None:
        """Their number where an observation is one of finitely many, one-hot; else None."""
        return self._facts.states

    @property
    def actions(self) -> tuple[int, ...]:
        """Number of actions of each component."""
        return self._facts.actions

    @property
    def time_limit(self) -> int:
        """The most steps of an episode."""
        assert self._facts.time_limit is not None
        return self._facts.time_limit

    @property
    def reward_threshold(self) -> float | None:
        """Mean return from which the task counts as solved; None: nobody has said."""
        return self._facts.reward_threshold

    @property
    def differentiable(self) -> bool:
        """Whether the environment is one in torch, through which a gradient can pass."""
        return self._facts.differentiable

    def make(
        self, count: int, first: int = 0, total: int | None = None, device: torch.device | str = "cpu"
    ) -> VectorEnvironments:
        """Environments to step; the caller closes them.

        Args:
            count: their number.
            first: number of the first one among those of all processes.
            total: number of those of all processes; `first + count` by default.
            device: of the tensors, and of the environments in torch.

        Raises:
            DataError: they cannot be made; the message says why.
        """
        total = first + count if total is None else total
        return self._source.make(count, first, total, device)

    def setup(self, stage: str | None = None) -> None:
        """Looks at one environment: what is wrong with it is said before training."""
        _ = self._facts

    def train_dataloader(self) -> Count:
        return Count(self.updates)

    def val_dataloader(self) -> Count:
        return Count(1)

    test_dataloader = predict_dataloader = val_dataloader


@dataclass(frozen=True)
class _Facts:
    name: str
    observation_shape: tuple[int, ...]
    states: int | None
    actions: tuple[int, ...]
    time_limit: int | None
    reward_threshold: float | None
    differentiable: bool
