"""Small agents in small environments, and what a fit left of them."""

from pathlib import Path as File
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor

from discrete_lightning.control.methods import A2C, PPO, REINFORCE, SAC, AllActions, ControlMethod, LeaveOneOut, Path
from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.training.policy_gradient import PolicyGradient
from tests.tiny_images import quiet_trainer

METHODS: list[ControlMethod] = [
    PPO(epochs=2, batch_size=24),
    A2C(normalize=True),
    REINFORCE(),
    LeaveOneOut(),
    AllActions(critic_epochs=2),
    SAC(batch_size=32, gradient_steps=2, warm_up=30),
    Path(critic=True),
]


def tiny_agent(method: ControlMethod, **options: Any) -> PolicyGradient:
    seed_everything(5, verbose=False)
    defaults: dict[str, Any] = {"hidden": [8], "entropy_weight": 0.01, "learning_rate": 0.01}
    return PolicyGradient(method, **(defaults | options))


def tiny_environments(number: int = 4, environment: Any = "CartPole", **options: Any) -> Environments:
    defaults: dict[str, Any] = {"steps": 6, "updates": 3, "episodes": 3, "test_episodes": 4, "time_limit": 15}
    return Environments(environment, number=number, **(defaults | options))


class Figures(Callback):
    """Keeps what was logged after each update."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.rows.append({name: float(each) for name, each in trainer.callback_metrics.items()})


def fitted(model: PolicyGradient, data: Environments, **options: Any) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """The state after a fit, and the figures of each update."""
    figures = Figures()
    trainer = quiet_trainer(**({"limit_val_batches": 0, "callbacks": [figures]} | options))
    trainer.fit(model, datamodule=data)
    return state_of(model), figures.rows


def state_of(model: LightningModule) -> dict[str, Any]:
    return {name: each.detach().clone() for name, each in model.state_dict().items() if isinstance(each, Tensor)}


def assert_equal_states(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 0.0) -> None:
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(
            found[name],
            each,
            rtol=tolerance,
            atol=tolerance,
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )


class SaveAfter(Callback):
    """Writes a checkpoint after some updates."""

    def __init__(self, updates: int, file: File) -> None:
        self.updates, self.file = updates, file

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if index + 1 == self.updates:
            trainer.save_checkpoint(self.file)
