"""Environments whose observations say where they are: (number of the environment, episode, step)."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.vector.base import Observed, Step, VectorEnvironments

NEXT_STEP, SAME_STEP = "next_step", "same_step"


class Scripted(VectorEnvironments):
    """Environment i has episodes of 2 + i steps, ended in turn by themselves and by a time limit; reward 10 i + step.

    In mode NEXT_STEP the step after an end ignores the action, as gymnasium's does, and does not count.
    """

    name, observation_shape, actions, time_limit = "Scripted", (3,), (2, 3), 20

    def __init__(self, count: int, first: int = 0, mode: str = SAME_STEP) -> None:
        self.count, self.first, self.mode = count, first, mode
        self.taken: list[Tensor] = []

    def reset(self, seed: int) -> Observed:
        self.seed = seed
        self.where = [[0, 0, False] for _ in range(self.count)]  # episode, step, ended
        return self._observed()

    def _observed(self) -> Observed:
        rows = [[float(self.first + i), float(w[0]), float(w[1])] for i, w in enumerate(self.where)]
        legal = torch.tensor([[True, True, True, True, int(w[1]) % 2 == 1] for w in self.where])
        return Observed(torch.tensor(rows), legal)

    def step(self, actions: Tensor, active: Tensor | None = None) -> Step:
        self.taken.append(actions.clone())
        rewards, terminated, truncated = (
            torch.zeros(self.count),
            torch.zeros(self.count) > 1,
            torch.zeros(self.count) > 1,
        )
        counted, final = torch.ones(self.count) > 0, []
        for i, w in enumerate(self.where):
            if active is not None and not active[i]:
                final.append([torch.nan] * 3)
                rewards[i] = torch.nan
                counted[i] = False
                continue
            if w[2]:
                self.where[i] = [w[0] + 1, 0, False]
                counted[i] = False
                final.append([float(self.first + i), float(w[0] + 1), 0.0])
                continue
            w[1] += 1
            rewards[i] = 10 * (self.first + i) + w[1]
            final.append([float(self.first + i), float(w[0]), float(w[1])])
            if w[1] == 2 + self.first + i:
                (terminated if w[0] % 2 == 0 else truncated)[i] = True
                self.where[i] = [w[0] + 1, 0, False] if self.mode == SAME_STEP else [w[0], w[1], True]
        return Step(self._observed(), rewards, terminated, truncated, torch.tensor(final), counted)


class Uniform:
    """A policy of equal chances, and the actions that it took."""

    def __init__(self) -> None:
        self.noises: list[Tensor] = []

    def distribution(self, observations: Tensor, legal: Tensor | None) -> Any:
        from discrete_lightning.control.action_distribution import ActionDistribution, split_components

        return ActionDistribution(split_components(torch.zeros(len(observations), 5), (2, 3), legal))

    def choice(self, logits: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        self.noises.append(noise)
        return (logits + noise).argmax(-1)
