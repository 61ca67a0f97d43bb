"""One update of our PPO beside Stable-Baselines3's, on the peer's own rollout and from the peer's own weights.

    python -m benchmarks.control.same_update

CartPole, 8 environments, 64 steps, 6 epochs of one minibatch each, so that no order of rows matters. Prints the largest
difference of advantages, value targets, and weights after the update. Requirement: at most 1e-5 each. The peer weighs the
squared error of values by .5, ours half of it by 1; ours does not recompute advantages here, as the peer does not.
"""

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from discrete_lightning.control.advantage import generalized_advantage
from discrete_lightning.control.methods import PPO
from discrete_lightning.control.networks import ControlMLP
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.layers.temperature import LossWeight

N, STEPS, EPOCHS, GAMMA, LAMBDA, RATE, BETA = 8, 64, 6, 0.98, 0.9, 3e-3, 0.01


def peer() -> Any:
    """Stable-Baselines3's PPO with a rollout in its buffer."""
    from stable_baselines3 import PPO as Peer
    from stable_baselines3.common.env_util import make_vec_env

    envs: Any = make_vec_env("CartPole-v1", n_envs=N, seed=0)
    model = Peer(
        "MlpPolicy", envs, n_steps=STEPS, batch_size=N * STEPS, n_epochs=EPOCHS, gamma=GAMMA, gae_lambda=LAMBDA,
        ent_coef=BETA, learning_rate=RATE, seed=0, device="cpu",
    )  # fmt: skip
    _, callback = model._setup_learn(N * STEPS)
    model.collect_rollouts(envs, callback, model.rollout_buffer, n_rollout_steps=STEPS)
    return model


def linear(network: nn.Module) -> list[nn.Linear]:
    """Its linear layers."""
    return [each for each in network.modules() if isinstance(each, nn.Linear)]


def rollout_of(model: Any) -> Rollout:
    """The peer's rollout. No time limit is reached in 64 steps."""
    buffer = model.rollout_buffer
    ends = np.concatenate([buffer.episode_starts[1:], model._last_episode_starts[None]]).astype(bool)
    none = torch.zeros(STEPS, N, dtype=torch.bool)
    return Rollout(
        observations=torch.as_tensor(buffer.observations).clone(),
        actions=torch.as_tensor(buffer.actions).long().view(STEPS, N, 1),
        rewards=torch.as_tensor(buffer.rewards).clone(),
        terminated=torch.as_tensor(ends),
        truncated=none,
        counted=~none,
        last=torch.as_tensor(model._last_obs).float(),
        final=torch.zeros(0, 4),
        legal=None,
        last_legal=None,
        time=torch.zeros(STEPS, N, dtype=torch.long),
    )


def main() -> None:
    """Prints the differences."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = peer()
    extractor = model.policy.mlp_extractor
    theirs = {
        "policy": [*linear(extractor.policy_net), model.policy.action_net],
        "critic": [*linear(extractor.value_net), model.policy.value_net],
    }
    networks = {"policy": ControlMLP([4], 2), "critic": ControlMLP([4], 1)}
    for name, network in networks.items():
        for mine, other in zip(linear(network), theirs[name], strict=True):
            mine.load_state_dict({key: value.clone() for key, value in other.state_dict().items()})
    parameters = [each for network in networks.values() for each in network.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE, eps=1e-5)
    rollout = rollout_of(model)

    def descend(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()

    agent: Any = SimpleNamespace(
        policy=CategoricalPolicy(networks["policy"], 2),
        parts=nn.ModuleDict({"critic": networks["critic"], "clip": LossWeight(0.2)}),
        collector=SimpleNamespace(
            environments=SimpleNamespace(count=N, first=0), total=N, generator=None, device=torch.device("cpu")
        ),
        memory=None,
        gamma=GAMMA,
        steps=STEPS,
        maximum_entropy=False,
        discounted=False,
        beta=torch.tensor(BETA),
        collect=lambda: rollout,
        descend=descend,
    )
    with torch.no_grad():
        values, after = rollout.values(lambda observations, _: networks["critic"](observations)[..., 0])
    found = generalized_advantage(
        rollout.rewards, values, after, rollout.terminated, rollout.truncated, GAMMA, LAMBDA, rollout.counted
    )
    for name, own, theirs in (
        ("advantages", found.advantages, model.rollout_buffer.advantages),
        ("targets of values", found.targets, model.rollout_buffer.returns),
    ):
        print(f"{name:<28}{float((own - torch.as_tensor(theirs)).abs().max()):.1e}")
    PPO(EPOCHS, N * STEPS, 0.2, LAMBDA, value_weight=1.0, recompute=False).update(agent)
    model.train()
    for name, network in networks.items():
        largest = max(
            float((a - b).abs().max())
            for layers in zip(linear(network), theirs[name], strict=True)
            for a, b in zip(*(each.parameters() for each in layers), strict=True)
        )
        print(f"weights of the {name:<13}{largest:.1e}")


if __name__ == "__main__":
    main()
