"""An agent of your own in plain PyTorch Lightning: your LightningModule, our policy, rollouts, advantages and losses.

pip install 'discrete_lightning[control]'
python recipes/control/train.py [--environment CartPole-v1] [--updates 100]     prints the mean return of training episodes
"""

import argparse
from typing import Any

import gymnasium
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from discrete_lightning.control import Collector, EnvironmentFault, Rollout
from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector
from discrete_lightning.losses import EntropyBonus, generalized_advantage, ppo_clip
from discrete_lightning.nn import CategoricalPolicy, ControlMLP


class Agent(LightningModule):
    """PPO with an entropy bonus; several actions at once (MultiDiscrete) and legal-action masks work as they are."""

    def __init__(self, environment: str, number: int = 8, steps: int = 32, epochs: int = 20) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.steps, self.epochs = steps, epochs
        envs = gymnasium.make_vec(
            environment,
            number,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
        )
        self.collector = Collector(GymnasiumVector(envs), seed=1)
        shape, actions = self.collector.environments.observation_shape, self.collector.environments.actions
        self.policy = CategoricalPolicy(ControlMLP(shape, sum(actions), gain=0.01), actions)
        self.critic = ControlMLP(shape, 1)
        self.bonus = EntropyBonus(choice=0.01)

    def values(self, observations: Tensor, legal: Tensor | None = None) -> Tensor:
        found: Tensor = self.critic(observations)
        return found[:, 0]

    def training_step(self, batch: object, batch_idx: int) -> None:
        rollout = self.collector.collect(self.steps, self.policy, self.policy.choice)
        with torch.no_grad():
            old = self.policy(rollout.observations, rollout.legal).log_probability(rollout.actions)
            now, after = rollout.values(self.values)
        found = generalized_advantage(
            rollout.rewards, now, after, rollout.terminated, rollout.truncated, gamma=0.98, lambda_=0.8, counted=rollout.counted
        )  # fmt: skip
        optimizer: Any = self.optimizers()
        for _ in range(self.epochs):
            loss = self.loss(rollout, old, found.advantages, found.targets)
            optimizer.zero_grad()
            self.manual_backward(loss)
            nn.utils.clip_grad_norm_(self.parameters(), 0.5)
            optimizer.step()
        self.log_dict(ended := self.collector.episodes.take(), prog_bar=True)
        if (batch_idx + 1) % 20 == 0 and ended:
            print(
                f"update {batch_idx + 1}: mean return {ended['return']:.1f}, length {ended['length']:.1f}", flush=True
            )

    def loss(self, rollout: Rollout, old: Tensor, advantages: Tensor, targets: Tensor) -> Tensor:
        policy = self.policy(rollout.observations, rollout.legal)
        scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        score = ppo_clip(policy.log_probability(rollout.actions), old, scaled, mask=rollout.counted)
        error = (self.critic(rollout.observations)[..., 0] - targets).square()[rollout.counted].mean() / 2
        return score + error + self.bonus(policy.logits, mask=rollout.counted)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3, eps=1e-5)

    def train_dataloader(self) -> range:
        return range(10**6)  # a batch only counts: each is a rollout of its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default="CartPole-v1")
    parser.add_argument("--updates", type=int, default=100)
    options = parser.parse_args()
    seed_everything(1, verbose=False)
    agent = Agent(options.environment)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    try:
        Trainer(max_steps=options.updates * agent.epochs, enable_progress_bar=False, **quiet).fit(agent)
    except EnvironmentFault as fault:
        print(f"stopped: {fault}")


if __name__ == "__main__":
    main()
