"""DeepSea: two objectives with an entropy bonus against their exact values, and exploration by a bonus alone or by counts.

    python -m benchmarks.control.deep_sea [--seeds 3]

Part 1, N = 10, a table, A2C, 600 updates of 1,024 episodes: the probability of the treasure under the learned policy (exact,
from the policy's table) beside its own objective's value: maximum entropy (entropies in the returns), in closed form; entropy
in the loss only, the fixed point softmax(Q^pi / beta). Requirement: within .03 with beta .1, .12, .15 and 3 seeds.

Part 2, N = 20, which action goes right drawn for each cell: episodes until the most likely actions find the treasure, looked
at every 160 episodes, at most 5,000. PPO (advantages anew in each epoch) with an entropy bonus alone, of several weights, and
with `CountBonus`. Requirement: counts solve it within 5,000 episodes.
"""

import argparse
import logging
import warnings
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping

from discrete_lightning.control import A2C, PPO, CountBonus, DeepSea
from discrete_lightning.control.methods import ControlMethod
from discrete_lightning.control.tables.deep_sea import deep_sea, maximum_entropy_treasure, treasure_probability
from discrete_lightning.control.tables.soft_values import loss_only_fixed_point
from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.training.policy_gradient import PolicyGradient
from discrete_lightning.schedules import Linear
from discrete_lightning.training.learning_rate_annealing import LearningRateAnnealing

_BETAS, _SIZE, _LARGE, _MOST = (0.1, 0.12, 0.15), 10, 20, 5_000


def fit(model: PolicyGradient, data: Environments, epochs: int, callbacks: list[Callback], **trainer: Any) -> Trainer:
    """Trains on one thread, without files."""
    found = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        **trainer,
    )
    found.fit(model, datamodule=data)
    return found


def treasure(objective: Any, beta: float, seed: int) -> float:
    """P(treasure) after the training of part 1."""
    seed_everything(seed, verbose=False)
    env = DeepSea(_SIZE)
    data = Environments(env, number=1024, steps=_SIZE, updates=600, seed=1000 * seed)
    model = PolicyGradient(
        A2C(), objective=objective, entropy_weight=beta, gamma=1.0, hidden=[], learning_rate=0.1, gradient_clip=None
    )
    fit(model, data, 1, [LearningRateAnnealing(Linear(0.1, 0.0, steps=1), log=False)], limit_val_batches=0)
    with torch.no_grad():
        return env.exact_figures(model.policy(torch.eye(_SIZE**2 + 1)).probabilities[:, 0])["treasure"]


def episodes_until_found(seed: int, beta: float, count_weight: float, most: int) -> int | None:
    """Episodes of part 2; None: not in the budget."""
    seed_everything(seed, verbose=False)
    data = Environments(
        DeepSea(_LARGE, mapping=seed), number=16, steps=_LARGE, updates=10, episodes=1, seed=1000 * seed
    )
    method: ControlMethod = PPO(epochs=10, batch_size=16 * _LARGE, recompute=True)
    bonus = CountBonus(count_weight) if count_weight else None
    model = PolicyGradient(method, entropy_weight=beta, gamma=1.0, bonus=bonus, learning_rate=1e-3)
    stop = EarlyStopping("val/return", mode="max", patience=10**6, stopping_threshold=0.98)
    trainer = fit(model, data, most // 160, [stop])
    found = float(trainer.callback_metrics["val/return"]) > 0.98
    return model.counters.environment_steps // _LARGE if found else None


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--betas", type=float, nargs="+", default=_BETAS, help="of the first part")
    parser.add_argument("--most", type=int, default=_MOST, help="episodes of the second part")
    arguments = parser.parse_args()
    seeds = range(1, arguments.seeds + 1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    print(f"N = {_SIZE}: P(treasure)      beta   own value   learned, each seed   worst difference")
    for objective in ("maximum_entropy", "regularized"):
        for beta in arguments.betas:
            if objective == "maximum_entropy":
                own = float(maximum_entropy_treasure(_SIZE, beta))
            else:
                process = deep_sea(_SIZE)
                own = float(treasure_probability(loss_only_fixed_point(process, 1.0, beta)))
            found = [treasure(objective, beta, seed) for seed in seeds]
            shown = " ".join(f"{each:.4f}" for each in found)
            worst = max(abs(each - own) for each in found)
            print(f"{objective:22} {beta:7} {own:11.4f}   {shown}   {worst:.4f} (bar .03)", flush=True)
    print(f"N = {_LARGE}: episodes until the most likely actions find the treasure, of at most {arguments.most:,}")
    for name, beta, weight in (
        ("entropy bonus .01", 0.01, 0.0),
        ("entropy bonus .1", 0.1, 0.0),
        ("entropy bonus 1", 1.0, 0.0),
        ("counts, weight .5", 0.0, 0.5),
    ):
        episodes = [episodes_until_found(seed, beta, weight, arguments.most) for seed in seeds]
        print(f"{name:22}", *("never" if each is None else f"{each:,}" for each in episodes), flush=True)


if __name__ == "__main__":
    main()
