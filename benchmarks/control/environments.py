"""Steps a second of environments in torch beside gymnasium's vectorised ones, in one run.

python -m benchmarks.control.environments

Bar: with 256 environments and 1 thread at least 20 times as many steps a second as gymnasium's SyncVectorEnv that resets in the
same step, as `make_vec` makes it. Also gymnasium's own CartPole in numpy, which resets in the next step. The contestants take
turns; ratios are medians over rounds. Actions are uniform and drawn before.
"""

import argparse
import statistics
from collections.abc import Callable

import gymnasium
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from benchmarks._timing import device_name, interleaved
from discrete_lightning.control.environments import Acrobot, CartPole, DifferentiableEnv, GridWorld, MountainCar
from discrete_lightning.control.vector.torch_environments import TorchEnvironments

CASES: dict[str, DifferentiableEnv] = {
    "CartPole-v1": CartPole(),
    "Acrobot-v1": Acrobot(),
    "MountainCar-v0": MountainCar(),
    "FrozenLake8x8-v1": GridWorld("8x8"),
}
STEPS = {"torch": 100, "gymnasium, sync": 5, "gymnasium, numpy": 100}


def in_torch(env: DifferentiableEnv, actions: torch.Tensor) -> Callable[[], None]:
    environments = TorchEnvironments(env, actions.shape[1])
    environments.reset(seed=0)

    def run() -> None:
        for each in actions[: STEPS["torch"]]:
            environments.step(each)

    return run


def in_gymnasium(environments: VectorEnv, actions: torch.Tensor, steps: int) -> Callable[[], None]:
    environments.reset(seed=0)
    values = actions.squeeze(2).numpy()

    def run() -> None:
        for each in values[:steps]:
            environments.step(each)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count = arguments.environments
    print(f"{count} environments, {arguments.rounds} rounds, {device_name('cpu')}, gymnasium {gymnasium.__version__}")
    print(f"{'':18}{'':18}{'steps a second':>16}{'torch is faster by':>20}{'(range)':>20}")
    for name, env in CASES.items():
        generator = torch.Generator().manual_seed(0)
        actions = torch.randint(env.actions[0], (max(STEPS.values()), count, 1), generator=generator)
        options = {"autoreset_mode": AutoresetMode.SAME_STEP}
        sync = gymnasium.make_vec(name, count, vectorization_mode="sync", vector_kwargs=options)
        contestants = {
            "torch": in_torch(env, actions),
            "gymnasium, sync": in_gymnasium(sync, actions, STEPS["gymnasium, sync"]),
        }
        if name == "CartPole-v1":
            numpy = gymnasium.make_vec(name, count, vectorization_mode="vector_entry_point")
            contestants["gymnasium, numpy"] = in_gymnasium(numpy, actions, STEPS["gymnasium, numpy"])
        seconds = interleaved(contestants, arguments.rounds, "cpu")
        each = {who: [value / STEPS[who] for value in values] for who, values in seconds.items()}
        for who, values in each.items():
            line = f"{name:18}{who:18}{count / statistics.median(values):16,.0f}"
            if who != "torch":
                ratios = [a / b for a, b in zip(values, each["torch"], strict=True)]
                spread = f"({min(ratios):.1f} to {max(ratios):.1f})"
                line += f"{statistics.median(ratios):20.1f}{spread:>20}{'' if 'numpy' in who else '   (bar 20)'}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
