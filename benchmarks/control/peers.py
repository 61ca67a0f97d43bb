"""Stable-Baselines3's PPO on the tasks of this folder, with the settings that rl-zoo publishes for them where it has any.

    python -m benchmarks.control.peers --environment CartPole-v1 [--seeds 0 1 2] [--steps 100000] [--raw] [--output runs.jsonl]

Prints a line a run: environment steps until the argmax policy reaches the threshold over whole episodes, its return at the end,
CPU seconds of training. Other scripts of this folder call `stable_baselines3`, so that ours and the peer's are of one run.
It needs `stable_baselines3`, which the package itself never needs.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.control.judge import Looks, Run


@dataclass(frozen=True)
class Task:
    """An environment, its bar, and PPO's settings on it, ours and the peer's.

    Attributes:
        threshold: return from which it counts as solved.
        budget: environment steps.
        environments: stepped together.
        rollout: steps of each a rollout.
        every: environment steps between looks.
        episodes: of the last look; the others have 100.
        normalize: observations and rewards by running statistics.
        linear: learning rate and clip range fall linearly to 0 over `budget`.
    """

    threshold: float
    budget: int
    environments: int
    rollout: int
    batch: int = 64
    epochs: int = 4
    gamma: float = 0.99
    gae: float = 0.95
    entropy: float = 0.0
    learning_rate: float = 3e-4
    clip: float = 0.2
    every: int = 20_480
    episodes: int = 100
    normalize: bool = False
    linear: bool = False


TASKS = {
    "CartPole-v1": Task(
        475, 100_000, 8, 32, 256, 20, gamma=0.98, gae=0.8, learning_rate=1e-3, linear=True, every=2048
    ),
    "Acrobot-v1": Task(-85, 500_000, 16, 256, gae=0.94, normalize=True),
    "MountainCar-v0": Task(-120, 600_000, 16, 16, gae=0.98, normalize=True),
    "LunarLander-v3": Task(200, 1_000_000, 16, 1024, gamma=0.999, gae=0.98, entropy=0.01, every=65_536),
    "Taxi-v4": Task(7.5, 500_000, 16, 128, 256, 4, entropy=0.01, learning_rate=1e-3, episodes=1000),
    "FrozenLake8x8-v1": Task(0.85, 500_000, 16, 128, 256, 4, entropy=0.01, learning_rate=1e-3, episodes=1000),
}


def falling(value: float) -> Callable[[float], float]:
    """Linear to 0 with the share of the run that is left."""
    return lambda left: left * value


def stable_baselines3(
    environment: str, seed: int, task: Task | None = None, steps: int | None = None, raw: bool = False
) -> Run:
    """One run of PPO.

    Args:
        environment: a key of `TASKS`, or any where `task` is given.
        seed: of the peer's generators and environments.
        task: other settings than those of `TASKS`.
        steps: environment steps in the budget's place.
        raw: without the running statistics that `task` asks for.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    task = task or TASKS[environment]
    envs: Any = make_vec_env(environment, n_envs=task.environments, seed=seed)
    normalizer = VecNormalize(envs, gamma=task.gamma) if task.normalize and not raw else None
    model = PPO(
        "MlpPolicy",
        normalizer or envs,
        n_steps=task.rollout,
        batch_size=task.batch,
        n_epochs=task.epochs,
        gamma=task.gamma,
        gae_lambda=task.gae,
        ent_coef=task.entropy,
        learning_rate=falling(task.learning_rate) if task.linear else task.learning_rate,
        clip_range=falling(task.clip) if task.linear else task.clip,
        seed=seed,
        device="cpu",
    )

    def act(observations: Any) -> Any:
        return model.predict(normalizer.normalize_obs(observations) if normalizer else observations, deterministic=True)[0]

    looks = Looks(environment, task.threshold, task.every, task.episodes)

    class Look(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            looks.look(self.num_timesteps, act)

    model.learn(steps or task.budget, callback=Look())
    run = looks.result(model.num_timesteps, act)
    envs.close()
    return run


def main() -> None:
    """A line a run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--environment", required=True, choices=TASKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--output")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for seed in arguments.seeds:
        run = stable_baselines3(arguments.environment, seed, steps=arguments.steps, raw=arguments.raw)
        line = json.dumps({"environment": arguments.environment, "seed": seed, "raw": arguments.raw, **asdict(run)})
        print(line, flush=True)
        if arguments.output:
            with open(arguments.output, "a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
