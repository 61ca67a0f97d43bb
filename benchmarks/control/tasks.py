"""The tasks of this folder: an environment, its bar, and PPO's settings on it, ours and the peer's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """An environment, its bar, and PPO's settings.

    Attributes:
        threshold: return from which it counts as solved.
        budget: environment steps.
        environments: stepped together.
        rollout: steps of each in a rollout.
        hidden: units of each hidden layer of policy and critic; none: tables.
        entropy: weight of the bonus.
        last_entropy: weight at the end, where it falls linearly.
        falling: whether the learning rate falls linearly to 0 over the budget.
        falling_clip: whether the clip range does.
        norm_observations: by running statistics.
        norm_rewards: by the running deviation of the discounted return.
        recompute: whether ours computes advantages anew in each epoch; the peer never does.
        every: environment steps between looks.
        episodes: of the last look; the others have 100.
    """

    threshold: float
    budget: int
    environments: int
    rollout: int
    batch: int = 64
    epochs: int = 4
    gamma: float = 0.99
    gae: float = 0.95
    hidden: tuple[int, ...] = (64, 64)
    entropy: float = 0.0
    last_entropy: float | None = None
    learning_rate: float = 3e-4
    clip: float = 0.2
    falling: bool = False
    falling_clip: bool = False
    norm_observations: bool = False
    norm_rewards: bool = False
    recompute: bool = False
    every: int = 20_480
    episodes: int = 100


# CartPole and LunarLander: those of rl-zoo. Acrobot and MountainCar: rl-zoo's, save that the learning rate falls, and that
# MountainCar's rewards stay as they are.
TASKS = {
    "CartPole-v1": Task(
        475, 100_000, 8, 32, 256, 20, gamma=0.98, gae=0.8, learning_rate=1e-3, falling=True, falling_clip=True, every=2048
    ),
    "Acrobot-v1": Task(-85, 500_000, 16, 256, gae=0.94, falling=True, norm_observations=True, norm_rewards=True),
    "MountainCar-v0": Task(-120, 600_000, 16, 16, gae=0.98, falling=True, norm_observations=True),
    "LunarLander-v3": Task(200, 1_000_000, 16, 1024, gamma=0.999, gae=0.98, entropy=0.01, every=65_536),
    "Taxi-v4": Task(
        7.5, 500_000, 32, 64, 256, 4, hidden=(), entropy=0.01, learning_rate=2e-2, falling=True, norm_rewards=True,
        episodes=1000,
    ),
    "FrozenLake8x8-v1": Task(
        0.85, 500_000, 16, 128, 256, 4, gamma=0.999, entropy=0.03, last_entropy=0.001, learning_rate=1e-3, falling=True,
        episodes=1000,
    ),
}  # fmt: skip
