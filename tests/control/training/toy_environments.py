"""Environments of a user's own, named in configs as `tests.control.training.toy_environments:X`."""

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from discrete_lightning.control.environments import CartPole
from tests.control.vector.tiny import Broken, Endless, Walk

__all__ = ["Broken", "Endless", "Walk"]

gymnasium.register("Registered-v3", Walk, max_episode_steps=3, reward_threshold=7)


def pole(time_limit: int = 7) -> CartPole:
    return CartPole(time_limit)


def walk() -> Walk:
    return Walk()


def walks(num_envs: int) -> SyncVectorEnv:
    return SyncVectorEnv([Walk] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def too_few(num_envs: int) -> SyncVectorEnv:
    return SyncVectorEnv([Walk])


def number() -> Any:
    return 3


class Pole(CartPole):
    """Another class."""
