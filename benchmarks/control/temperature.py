"""A learned temperature with an entropy bonus of weight beta, against soft value iteration: the claim of `LearnedTemperature`.

python -m benchmarks.control.temperature > benchmarks/control/results/temperature.txt

All numbers are at gamma = .95. Each part says what must hold. Times are not measured.
"""

import argparse
import io
import logging
import tempfile
import warnings
from contextlib import redirect_stdout
from typing import Any

import torch
from lightning.pytorch import Trainer

from discrete_lightning.control.tables.deep_sea import deep_sea, maximum_entropy_treasure, treasure_probability
from discrete_lightning.control.tables.policy_gradients import loss_only_gradient, maximum_entropy_gradient
from discrete_lightning.control.tables.process import TOY_TEXT, toy_text
from discrete_lightning.control.tables.soft_values import loss_only_fixed_point, soft_value_iteration
from discrete_lightning.control.tables.tempered import steepness, temperature_derivative
from discrete_lightning.control.tables.values import policy_return
from discrete_lightning.models import LearnedTemperature

GAMMA = 0.95
BETAS = (0.03, 0.1, 0.3)
SEEDS = (0, 1, 2)


def learned(**arguments: Any) -> LearnedTemperature:
    """A model, trained as `discrete-lightning fit -c control/learned_temperature` does."""
    model = LearnedTemperature(**arguments)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # the table says which are flat
        quiet = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder, **quiet).fit(model)  # type: ignore[arg-type]
    return model


def print_derivatives() -> None:
    print("tau dJ/dtau, logits Q_soft held: |.| <= 1e-8 at tau = beta, > 0 below, < 0 above; flat: as the model says\n")
    print(f"{'':16s}{'beta':>6s}{'beta / 2':>12s}{'.9 beta':>12s}{'beta':>12s}{'1.1 beta':>12s}{'2 beta':>12s}   flat")
    for name in TOY_TEXT:
        process = toy_text(name)
        for beta in (0.01, *BETAS):
            q, _ = soft_value_iteration(process, GAMMA, beta)
            slopes = [
                temperature_derivative(process, q, GAMMA, beta, factor * beta)[1].item()
                for factor in (0.5, 0.9, 1, 1.1, 2)
            ]
            steep = steepness(process, q, GAMMA, beta, beta).item()
            said = f"{'yes' if steep < 2e-3 else 'no'} ({steep:.1e})"
            print(f"{name:16s}{beta:6g}" + "".join(f"{slope:12.1e}" for slope in slopes) + f"   {said}")
    print()


def print_learned() -> None:
    print("learned tau, exact gradients, Adam on tau from 1: tau / truth within 1 % where the gradient is not flat\n")
    print(f"{'':16s}{'logits':>9s}{'beta':>6s}{'tau':>9s}{'truth':>9s}{'tau/truth':>11s}")
    runs: list[dict[str, Any]] = [
        {"environment": "FrozenLake-v1", "betas": BETAS},
        {"environment": "CliffWalking-v1", "betas": BETAS},
        {"environment": "Taxi-v4", "betas": BETAS},
        {"environment": "FrozenLake-v1", "betas": (0.01, *BETAS), "logits": "learned"},
    ]
    for run in runs:
        for each in learned(**run).results():
            flat = "  flat" if each.flat else ""
            print(
                f"{run['environment']:16s}{run.get('logits', 'soft_q'):>9s}{each.beta:6g}{each.temperature:9.4f}"
                f"{each.truth:9.4f}{each.temperature / each.truth:11.4f}{flat}"
            )
    print()


def print_sampled() -> None:
    print(
        "learned tau, gradients from 256 sampled episodes, 400 updates, FrozenLake-v1, Q_soft: within 10 %, rising in beta\n"
    )
    print("seed" + "".join(f"{f'beta {beta:g}':>12s}" for beta in BETAS) + f"{'worst error':>14s}{'rising':>9s}")
    for seed in SEEDS:
        model = learned(betas=BETAS, gradient="episodes", seed=seed)
        taus = model.temperatures().detach()
        worst = (taus / model.truth - 1).abs().max().item()
        rising = "yes" if bool((taus.diff() > 0).all()) else "no"
        print(
            f"{seed:4d}" + "".join(f"{tau:12.4f}" for tau in taus.tolist()) + f"{worst:13.1%} {rising:>8s}", flush=True
        )
    print()


def print_objectives() -> None:
    print(
        "the two objectives: entropy in the returns (maximum entropy), and in the loss only (fixed point, from uniform)\n"
    )
    print(f"{'':32s}{'beta':>6s}{'closed form':>13s}{'in returns':>12s}{'in loss':>10s}")
    sea = deep_sea(10)
    for beta in (0.1, 0.12, 0.15):
        q, _ = soft_value_iteration(sea, 1.0, beta)
        soft = treasure_probability(torch.softmax(q / beta, -1)).item()
        other = treasure_probability(loss_only_fixed_point(sea, 1.0, beta)).item()
        closed = maximum_entropy_treasure(10, beta)
        print(f"{'DeepSea, N = 10: P(treasure)':32s}{beta:6g}{closed:13.5f}{soft:12.5f}{other:10.5f}")
    lake = toy_text("FrozenLake-v1")
    for beta in (0.01, 0.1):
        q, _ = soft_value_iteration(lake, GAMMA, beta)
        soft = policy_return(lake, torch.softmax(q / beta, -1), GAMMA).item()
        other = policy_return(lake, loss_only_fixed_point(lake, GAMMA, beta), GAMMA).item()
        print(f"{'FrozenLake-v1: discounted return':32s}{beta:6g}{'':13s}{soft:12.5f}{other:10.5f}")


def print_ways() -> None:
    print(
        "\nDeepSea, N = 10: P(treasure) by the exact gradient of each objective, from the uniform policy, Adam 0.05\n"
    )
    steps = (100, 200, 400, 600, 1600)
    print(f"{'beta':>6s}{'entropy in':>14s}" + "".join(f"{f'{step} updates':>14s}" for step in steps) + f"{'end':>10s}")
    sea = deep_sea(10)
    for beta in (0.1, 0.12, 0.15):
        other = treasure_probability(loss_only_fixed_point(sea, 1.0, beta)).item()
        ways = {
            "returns": (maximum_entropy_gradient, maximum_entropy_treasure(10, beta)),
            "loss": (loss_only_gradient, other),
        }
        for name, (gradient, end) in ways.items():
            logits = torch.zeros(100, 2, dtype=torch.float64, requires_grad=True)
            optimizer, found = torch.optim.Adam([logits], lr=0.05), []
            for step in range(1, steps[-1] + 1):
                logits.grad = -gradient(sea, logits, 1.0, beta)
                optimizer.step()
                if step in steps:
                    found.append(treasure_probability(torch.softmax(logits.detach(), -1)).item())
            print(f"{beta:6g}{name:>14s}" + "".join(f"{each:14.4f}" for each in found) + f"{end:10.4f}", flush=True)


PARTS = {
    "derivatives": print_derivatives,
    "learned": print_learned,
    "sampled": print_sampled,
    "objectives": print_objectives,
    "ways": print_ways,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    torch.set_num_threads(1)
    for name in arguments.only:
        PARTS[name]()


if __name__ == "__main__":
    main()
