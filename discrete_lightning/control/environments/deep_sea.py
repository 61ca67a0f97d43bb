"""A sea that is dived right or left, row by row, with a treasure in one corner: bsuite's DeepSea, made to test exploration.

Osband et al., "Behaviour suite for reinforcement learning", 2019, arXiv 1908.03568.
"""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.environments.finite import FiniteEnv


class DeepSea(FiniteEnv):
    """N x N cells; a step goes one row down and one column left (action 0) or right (action 1). N moves to the right win 1.

    Every move to the right costs cost / N, so a policy without foresight learns to go left; uniform actions find the
    treasure in one of 2^N episodes. State: one-hot, (n, N * N + 1), cells row by row, then the end, which has no state of
    its own in bsuite. There it is drawn for each cell which action goes right, so that a network cannot learn to go right
    everywhere: `mapping`.

    Args:
        size: N, at least 1.
        cost: what N moves to the right cost, at least 0.
        mapping: seed of which action goes right in each cell; None: action 1 everywhere.

    Attributes:
        treasure_return: of the N moves to the right, 1 - cost.
        right: int64 (N, N), the action that goes right in each cell.

    Example:
        >>> env = DeepSea(size=2)
        >>> state, rewards = env.start(torch.zeros(1, 1)), []
        >>> for _ in range(2):
        ...     state, reward, _, ended = env.take(state, torch.tensor([[1]]))
        ...     rewards.append(round(reward.item(), 3))
        >>> rewards, ended.item(), env.treasure_return
        ([-0.005, 0.995], True, 0.99)
    """

    def __init__(self, size: int = 10, cost: float = 0.01, mapping: int | None = None) -> None:
        if size < 1 or not 0 <= cost < float("inf"):
            raise ValueError(f"size must be at least 1 and cost at least 0, got size {size} and cost {cost}")
        end = size * size
        right = torch.ones(size, size, dtype=torch.int64)
        if mapping is not None:
            right = torch.randint(2, (size, size), generator=torch.Generator().manual_seed(mapping))
        targets, rewards = [], []
        for row in range(size):
            for column in range(size):
                down = (row + 1) * size
                inside = row + 1 < size
                order = (0, 1) if right[row, column] else (1, 0)
                to = [down + max(column - 1, 0), down + min(column + 1, size - 1)] if inside else [end, end]
                earned = [0.0, float(column == size - 1) - cost / size]
                targets.append([to[i] for i in order])
                rewards.append([earned[i] for i in order])
        super().__init__(
            targets=[*targets, [end, end]],
            rewards=[*rewards, [0.0, 0.0]],
            terminal=[False] * end + [True],
            first=[1.0] + [0.0] * end,
            time_limit=size,  # no episode is longer
        )
        self.size, self.right = size, right
        self.treasure_return = 1 - cost

    def exact_figures(self, probabilities: Tensor) -> dict[str, float]:
        """`treasure`, the probability that a policy finds it, from its probabilities in all states, (N * N + 1, 2)."""
        cells = torch.arange(self.size) * (self.size + 1)
        return {"treasure": float(probabilities.cpu()[cells, self.right.diagonal()].double().prod())}

    def draw(self, state: Tensor) -> Any:
        from discrete_lightning.control.drawing.grid import draw_grid

        rows = ["." * self.size] * (self.size - 1) + ["." * (self.size - 1) + "G"]
        position = int(state.argmax())
        return draw_grid(rows, None if position == self.size**2 else position)
