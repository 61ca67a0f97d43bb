"""A sea that is dived right or left, row by row, with a treasure in one corner: bsuite's DeepSea, made to test exploration.

Osband et al., "Behaviour suite for reinforcement learning", 2019, arXiv 1908.03568.
"""

from typing import Any

from torch import Tensor

from discrete_lightning.control.environments.finite import FiniteEnv


class DeepSea(FiniteEnv):
    """N x N cells; a step goes one row down and one column left (action 0) or right (action 1). N moves to the right win 1.

    Every move to the right costs cost / N, so a policy without foresight learns to go left; uniform actions find the
    treasure in one of 2^N episodes. State: one-hot, (n, N * N + 1), cells row by row, then the end. bsuite draws for each
    cell which action goes right; here it is always action 1, and the end has a state of its own instead of zeros.

    Args:
        size: N, at least 1.
        cost: what N moves to the right cost, at least 0.

    Attributes:
        treasure_return: of the N moves to the right, 1 - cost.

    Example:
        >>> env = DeepSea(size=2)
        >>> state, rewards = env.start(torch.zeros(1, 1)), []
        >>> for _ in range(2):
        ...     state, reward, _, ended = env.take(state, torch.tensor([[1]]))
        ...     rewards.append(round(reward.item(), 3))
        >>> rewards, ended.item(), env.treasure_return
        ([-0.005, 0.995], True, 0.99)
    """

    def __init__(self, size: int = 10, cost: float = 0.01) -> None:
        if size < 1 or not 0 <= cost < float("inf"):
            raise ValueError(f"size must be at least 1 and cost at least 0, got size {size} and cost {cost}")
        end = size * size
        targets, rewards = [], []
        for row in range(size):
            for column in range(size):
                down = (row + 1) * size
                inside = row + 1 < size
                targets.append([down + max(column - 1, 0), down + min(column + 1, size - 1)] if inside else [end, end])
                rewards.append([0.0, float(column == size - 1) - cost / size])
        super().__init__(
            targets=[*targets, [end, end]],
            rewards=[*rewards, [0.0, 0.0]],
            terminal=[False] * end + [True],
            first=[1.0] + [0.0] * end,
            time_limit=size,  # no episode is longer
        )
        self.size = size
        self.treasure_return = 1 - cost

    def draw(self, state: Tensor) -> Any:
        from discrete_lightning.control.drawing.grid import draw_grid

        rows = ["." * self.size] * (self.size - 1) + ["." * (self.size - 1) + "G"]
        position = int(state.argmax())
        return draw_grid(rows, None if position == self.size**2 else position)
