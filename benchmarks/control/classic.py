"""Acrobot, MountainCar and LunarLander by PPO, beside Stable-Baselines3's PPO in the same budget of environment steps.

    python -m benchmarks.control.classic --environment Acrobot-v1 [--seeds 0 1 2] [--steps 500000]
    python -m benchmarks.control.classic --environment MountainCar-v0
    python -m benchmarks.control.classic --environment LunarLander-v3 --seeds 0

Both have the settings of tasks.py, close to rl-zoo's; contestants take turns, one thread. The return is the mean of the most
likely actions over 100 whole episodes after the last step; solved: the first look (every 20,480 steps; LunarLander 65,536) at
the bar. CPU seconds are of training, looks not counted. MountainCar is also run once with raw observations.

Bars, after 500,000, 600,000 and 1,000,000 steps: Acrobot -85, MountainCar -120, LunarLander 200.
"""

import argparse
from functools import partial

from benchmarks.control.ours import ours, quiet
from benchmarks.control.peers import stable_baselines3
from benchmarks.control.table import Contestant, compare
from benchmarks.control.tasks import TASKS

ENVIRONMENTS = ("Acrobot-v1", "MountainCar-v0", "LunarLander-v3")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--environment", required=True, choices=ENVIRONMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--without-peer", action="store_true")
    arguments = parser.parse_args()
    quiet()
    name = arguments.environment
    task, steps = TASKS[name], arguments.steps
    contestants: dict[str, Contestant] = {"PPO": partial(ours, name, steps=steps)}
    if not arguments.without_peer:
        contestants["Stable-Baselines3"] = partial(stable_baselines3, name, steps=steps)
    print(f"{name}: {steps or task.budget:,} steps")
    compare(contestants, arguments.seeds, task.threshold)
    if name == "MountainCar-v0":
        compare(
            {"PPO, raw observations": partial(ours, name, steps=steps, raw=True)}, arguments.seeds[:1], task.threshold
        )


if __name__ == "__main__":
    main()
