"""CartPole solved: PPO against Stable-Baselines3's PPO with the same settings, and the path gradient.

    python -m benchmarks.control.cartpole [--seeds 0 1 2 3 4] [--steps 100000]

Contestants take turns, seed by seed, one thread, in gymnasium's CartPole-v1, the path gradient in its copy in torch; all are
judged in CartPole-v1. Solved: the most likely actions reach a mean return of 475 over 100 whole episodes, looked at every 2,048
environment steps (path: after every update). CPU seconds are those of the process while it trains, looks not counted: until
solved, and for a thousand steps of the whole run.

Bars, of the medians until solved: PPO's steps at most the peer's, its CPU seconds at most half the peer's; path: every seed
within 2,000 environment steps and 60 updates, at most a fifth of PPO's median.
"""

import argparse
import statistics
from dataclasses import replace

import torch
from lightning.pytorch import seed_everything

from benchmarks.control.judge import Looks, Run, median_solved
from benchmarks.control.ours import fit, ours, quiet
from benchmarks.control.peers import stable_baselines3
from benchmarks.control.tasks import TASKS
from discrete_lightning.control.methods import Path
from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.training.policy_gradient import PolicyGradient

NAME = "CartPole-v1"
PATH_ENVIRONMENTS, PATH_STEPS = 4, 8


def path(seed: int) -> Run:
    """The path gradient by straight-through Gumbel, until solved, in at most 200 updates."""
    seed_everything(seed, verbose=False)
    data = Environments("CartPole", number=PATH_ENVIRONMENTS, steps=PATH_STEPS, updates=200, seed=1000 * seed)
    model = PolicyGradient(Path(), hidden=[64], learning_rate=1e-2, gradient_clip=1.0)
    return fit(model, data, Looks(NAME, TASKS[NAME].threshold, every=1), stop=True)


def line(name: str, seed: int, run: Run, updates: str = "") -> str:
    """One run."""
    solved = "never" if run.solved is None else f"{run.solved:,}"
    seconds = "" if run.seconds_to_solved is None else f"{run.seconds_to_solved:6.2f}"
    each = run.seconds / run.steps * 1000
    return f"{name:<20}{seed:>5}{solved:>12}{updates:>9}{seconds:>12}{each:>12.3f}{run.final:>9.1f}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=TASKS[NAME].budget)
    arguments = parser.parse_args()
    quiet()
    task = TASKS[NAME]
    # What is imported and compiled at first use is of no contestant's time.
    short = replace(task, every=10**9)
    for contestant in (ours, stable_baselines3):
        contestant(NAME, 0, short, steps=1024)
    print(f"torch {torch.__version__}, one thread; learning rate and clip to 0 over {arguments.steps:,} steps")
    print(f"{'':<20}{'seed':>5}{'solved at':>12}{'updates':>9}{'CPU-s until':>12}{'CPU-s / 1k':>12}{'return':>9}")
    runs: dict[str, list[Run]] = {"PPO": [], "Stable-Baselines3": [], "Path": []}
    for seed in arguments.seeds:
        for name, found in (
            ("PPO", ours(NAME, seed, steps=arguments.steps)),
            ("Stable-Baselines3", stable_baselines3(NAME, seed, steps=arguments.steps)),
            ("Path", path(seed)),
        ):
            runs[name].append(found)
            updates = f"{found.steps // (PATH_ENVIRONMENTS * PATH_STEPS)}" if name == "Path" else ""
            print(line(name, seed, found, updates), flush=True)
    medians = {name: median_solved(each) for name, each in runs.items()}
    print("median steps until solved: " + ", ".join(f"{name} {each:,.0f}" for name, each in medians.items()))
    print(f"PPO / Stable-Baselines3, steps: {medians['PPO'] / medians['Stable-Baselines3']:.2f} (bar 1)")
    pairs = list(zip(runs["PPO"], runs["Stable-Baselines3"], strict=True))
    whole = statistics.median(a.seconds / a.steps / (b.seconds / b.steps) for a, b in pairs)
    print(f"PPO / Stable-Baselines3, CPU seconds for a step, median over seeds: {whole:.2f}")
    mine, peers = (
        statistics.median(each.seconds_to_solved or float("inf") for each in runs[name])
        for name in ("PPO", "Stable-Baselines3")
    )
    print(f"PPO / Stable-Baselines3, medians of CPU seconds until solved: {mine / peers:.2f} (bar .5)")
    steps = [each.solved or 10**9 for each in runs["Path"]]
    within = sum(each <= 2000 and each // (PATH_ENVIRONMENTS * PATH_STEPS) <= 60 for each in steps)
    print(f"Path within 2,000 steps and 60 updates: {within} of {len(steps)} seeds; the most {max(steps):,} steps")
    print(f"Path / PPO, steps: {medians['Path'] / medians['PPO']:.3f} (bar .2)")


if __name__ == "__main__":
    main()
