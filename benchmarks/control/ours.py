"""`PolicyGradient` on the tasks of this folder, by the Trainer as users call it, judged as the peer is.

    python -m benchmarks.control.ours --environment CartPole-v1 [--seeds 0 1 2] [--steps 100000] [--raw]

Prints a line a run, as benchmarks.control.peers does.
"""

import argparse
import json
import warnings
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from benchmarks.control.judge import Act, Looks, Run
from benchmarks.control.tasks import TASKS, Task
from discrete_lightning.control.methods import PPO, ControlMethod
from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.training.policy_gradient import PolicyGradient
from discrete_lightning.schedules import Linear
from discrete_lightning.training.annealing import WeightAnnealing
from discrete_lightning.training.learning_rate_annealing import LearningRateAnnealing


def acting(model: PolicyGradient, states: int | None) -> Act:
    """The model's most likely actions, of one component."""

    @torch.inference_mode()
    def act(observations: Any, legal: Any) -> Any:
        given = torch.as_tensor(observations)
        if states is not None:
            given = torch.nn.functional.one_hot(given, states)
        was = model.training
        model.eval()
        actions = model(given.float(), None if legal is None else torch.as_tensor(legal))
        model.train(was)
        return actions[:, 0].numpy()

    return act


class Look(Callback):
    """Looks after each rollout, and ends the fit once it is solved if told to."""

    def __init__(self, looks: Looks, stop: bool) -> None:
        self.looks, self.stop = looks, stop

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, PolicyGradient)
        states = pl_module.environments().states
        self.looks.look(pl_module.counters.environment_steps, acting(pl_module, states))
        trainer.should_stop = self.stop and self.looks.solved is not None


def fit(
    model: PolicyGradient, data: Environments, looks: Looks, callbacks: list[Callback] | None = None, stop: bool = False
) -> Run:
    """Trains, with a look after each rollout where it is time."""
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[*(callbacks or []), Look(looks, stop)],
    )
    trainer.fit(model, datamodule=data)
    return looks.result(model.counters.environment_steps, acting(model, data.states))


def annealing(task: Task) -> list[Callback]:
    """What falls over a run."""
    found: list[Callback] = []
    if task.falling:
        found.append(LearningRateAnnealing(Linear(task.learning_rate, 0.0, steps=1), log=False))
    if task.falling_clip:
        found.append(WeightAnnealing(Linear(task.clip, 0.0, steps=1), only="parts.clip", count="progress", log=False))
    if task.last_entropy is not None:
        falls = Linear(task.entropy, task.last_entropy, steps=1)
        found.append(WeightAnnealing(falls, only="entropy_weight", count="progress", log=False))
    return found


def ours(
    environment: str,
    seed: int,
    task: Task | None = None,
    steps: int | None = None,
    raw: bool = False,
    masks: bool = False,
    method: ControlMethod | None = None,
) -> Run:
    """One run of PPO.

    Args:
        environment: a key of `TASKS`, or any where `task` is given.
        seed: of the weights, the environments and the noise.
        task: other settings than those of `TASKS`.
        steps: environment steps in the budget's place.
        raw: without running statistics, whatever the task says.
        masks: whether illegal actions are left out where the environment says which they are. The peer cannot.
        method: in the place of PPO with the task's settings.
    """
    task = TASKS[environment] if task is None else task
    seed_everything(seed, verbose=False)
    updates = (steps or task.budget) // (task.environments * task.rollout)
    data = Environments(
        environment, number=task.environments, steps=task.rollout, updates=updates, seed=1000 * seed, masks=masks
    )
    model = PolicyGradient(
        method or PPO(task.epochs, task.batch, task.clip, task.gae, value_weight=1.0, recompute=task.recompute),
        entropy_weight=task.entropy,
        gamma=task.gamma,
        hidden=list(task.hidden),
        norm_observations=task.norm_observations and not raw,
        norm_rewards=task.norm_rewards and not raw,
        learning_rate=task.learning_rate,
    )
    looks = Looks(environment, task.threshold, task.every, task.episodes, masks)
    return fit(model, data, looks, annealing(task))


def main() -> None:
    """A line a run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--environment", required=True, choices=TASKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--masks", action="store_true")
    arguments = parser.parse_args()
    quiet()
    for seed in arguments.seeds:
        run = ours(arguments.environment, seed, None, arguments.steps, arguments.raw, arguments.masks)
        print(json.dumps({"environment": arguments.environment, "seed": seed, **asdict(run)}), flush=True)


def quiet() -> None:
    """One thread, and no word of Lightning's."""
    import logging

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
