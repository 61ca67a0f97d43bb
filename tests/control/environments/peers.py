"""gymnasium's environments one step at a time, from states of ours, with torch's sines."""

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from discrete_lightning.control.environments import DifferentiableEnv, Transition


def torch_sines(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """From now on `module` rounds sines as torch does: what differs afterwards is the dynamics."""

    def of_torch(function: Any) -> Any:
        return lambda x: np.float64(function(torch.tensor(float(x), dtype=torch.float64)).item())

    sines = {"sin": of_torch(torch.sin), "cos": of_torch(torch.cos)}
    for name in ("np", "math"):
        if hasattr(module, name):
            theirs = getattr(module, name)
            monkeypatch.setattr(module, name, SimpleNamespace(**{**vars(theirs), **sines}))
    for name, function in sines.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, function)


def steps(name: str, env: DifferentiableEnv, episodes: int, hold: int) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Steps of random episodes: (state before, action (1, 1), gymnasium's (state, reward, terminated) after)."""
    theirs = gymnasium.make(name).unwrapped
    rng = np.random.default_rng(0)
    for episode in range(episodes):
        theirs.reset(seed=episode)
        action = 0
        for t in range(env.time_limit or 100):
            if t % hold == 0:  # an action that is held swings further
                action = int(rng.integers(env.actions[0]))
            before = torch.tensor(np.array(theirs.state, dtype=np.float64))[None]
            _, reward, terminated, _, _ = theirs.step(action)
            yield before, torch.tensor([[action]]), (np.array(theirs.state, dtype=np.float64), reward, terminated)
            if terminated:
                break


def stepped(env: DifferentiableEnv, state: Tensor, action: Tensor, how: str) -> Transition:
    """By `step` in torch, or by `take` in numpy."""
    if how == "take":
        return env.take(state, action)
    return env.step(state, torch.eye(env.actions[0], dtype=state.dtype)[action[:, 0]])


def check_gradients(env: DifferentiableEnv, state: Tensor, uniform: Tensor | None = None) -> None:
    """Gradients of state, observation and cost to state and action, one-hot and mixed, against differences."""
    state = state.double().requires_grad_()
    sizes = env.actions[0]
    one_hot = torch.eye(sizes, dtype=torch.float64).repeat(len(state), 1)[: len(state)]
    mixed = torch.linspace(0.1, 1.0, len(state) * sizes, dtype=torch.float64).reshape(len(state), sizes)

    def after(state: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        transition = env.step(state, action, uniform)
        assert not transition.reward.requires_grad
        assert not transition.terminated.requires_grad
        return transition.state, transition.cost, env.observe(transition.state)

    for action in (one_hot, mixed):
        assert torch.autograd.gradcheck(after, (state, action.requires_grad_()))
