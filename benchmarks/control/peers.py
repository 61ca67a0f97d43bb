"""Stable-Baselines3's PPO on the tasks of this folder.

    python -m benchmarks.control.peers --environment CartPole-v1 [--seeds 0 1 2] [--steps 100000] [--raw] [--output runs.jsonl]

Prints a line a run: environment steps until the argmax policy reaches the threshold over whole episodes, its return at the end,
CPU seconds of training. The other scripts of this folder call `stable_baselines3`, so that ours and the peer's are of one run.
The peer has the settings of `TASKS`, and everything else as it has it by default. It has to be installed; the package itself
never needs it.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.control.judge import Looks, Run
from benchmarks.control.tasks import TASKS, Task


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
        raw: without running statistics, whatever the task says.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    task = TASKS[environment] if task is None else task
    envs: Any = make_vec_env(environment, n_envs=task.environments, seed=seed)
    normalizer = None
    if (task.norm_observations or task.norm_rewards) and not raw:
        normalizer = VecNormalize(
            envs, norm_obs=task.norm_observations, norm_reward=task.norm_rewards, gamma=task.gamma
        )
    model = PPO(
        "MlpPolicy",
        normalizer or envs,
        n_steps=task.rollout,
        batch_size=task.batch,
        n_epochs=task.epochs,
        gamma=task.gamma,
        gae_lambda=task.gae,
        ent_coef=task.entropy,
        learning_rate=falling(task.learning_rate) if task.falling else task.learning_rate,
        clip_range=falling(task.clip) if task.falling_clip else task.clip,
        policy_kwargs={"net_arch": list(task.hidden)},
        seed=seed,
        device="cpu",
    )
    budget, first, last = steps or task.budget, task.entropy, task.last_entropy

    def act(observations: Any, legal: Any) -> Any:  # noqa: ARG001
        normed = normalizer.normalize_obs(observations) if normalizer else observations
        return model.predict(normed, deterministic=True)[0]

    looks = Looks(environment, task.threshold, task.every, task.episodes)

    class Look(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if last is not None:
                model.ent_coef = first + (last - first) * self.num_timesteps / budget
            looks.look(self.num_timesteps, act)

    model.learn(budget, callback=Look())
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
