"""Taxi and FrozenLake8x8 by PPO, beside Stable-Baselines3's PPO with the same settings and environment steps.

    python -m benchmarks.control.toy_text [--environments Taxi-v4 FrozenLake8x8-v1] [--seeds 0 1 2] [--steps 500000]

States are one-hot in both. Taxi says which actions do nothing (`info["action_mask"]`); the peer's PPO cannot leave them out, so
ours is run without that, too. Taxi: tables, rewards by their running deviation; FrozenLake8x8: two hidden layers of 64, and the
weight of the entropy bonus falls. Everything else is in tasks.py. The return is the mean of the most likely actions over 1,000
whole episodes after the last step; solved: the first look at 100, every 20,480 steps. The optimum of FrozenLake8x8 is .91.

Bars: Taxi 7.5, FrozenLake8x8 .85.
"""

import argparse
from functools import partial

from benchmarks.control.ours import ours, quiet
from benchmarks.control.peers import stable_baselines3
from benchmarks.control.table import Contestant, compare
from benchmarks.control.tasks import TASKS

ENVIRONMENTS = ("Taxi-v4", "FrozenLake8x8-v1")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--environments", nargs="+", default=list(ENVIRONMENTS), choices=ENVIRONMENTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--without-peer", action="store_true")
    arguments = parser.parse_args()
    quiet()
    steps = arguments.steps
    for name in arguments.environments:
        contestants: dict[str, Contestant] = {"PPO": partial(ours, name, steps=steps)}
        if name == "Taxi-v4":
            contestants = {"PPO, masks": partial(ours, name, steps=steps, masks=True)} | contestants
        if not arguments.without_peer:
            contestants["Stable-Baselines3"] = partial(stable_baselines3, name, steps=steps)
        print(f"{name}: {steps or TASKS[name].budget:,} steps")
        compare(contestants, arguments.seeds, TASKS[name].threshold)


if __name__ == "__main__":
    main()
