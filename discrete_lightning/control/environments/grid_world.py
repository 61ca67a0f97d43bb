"""A grid on which an agent looks for a goal and avoids holes, on ice or not: gymnasium's FrozenLake-v1 and others like it."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from discrete_lightning.control.environments.finite import FiniteEnv

LAYOUTS: dict[str, tuple[str, ...]] = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
}
_LIMITS = {"4x4": 100, "8x8": 200}
_THRESHOLDS = {"4x4": 0.70, "8x8": 0.85}
_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # left, down, right, up
_SUCCESS = 1.0 / 3.0
_FAILURE = (1.0 - _SUCCESS) / 2.0


class GridWorld(FiniteEnv):
    """Walks from a start to a goal: reward 1 at the goal, 0 elsewhere; goals and holes end the episode.

    State and observation: the position, one-hot (n, rows * columns), row by row. Actions: left, down, right, up; a move into a
    wall or off the grid stays. On ice a move goes where it should, or at a right angle to that, each with probability 1/3.
    `GridWorld("4x4")` is FrozenLake-v1 and `GridWorld("8x8")` FrozenLake8x8-v1, with time limits 100 and 200.

    Args:
        layout: "4x4", "8x8", or rows of letters: S start (where there are several, each is as likely), F free, H hole, G goal,
            # wall.
        slippery: whether there is ice.
        time_limit: the most steps of an episode; None: that of the named layout, or no limit with rows of letters.

    Raises:
        ValueError: the layout is not known, not a rectangle, has other letters, or has no start or no goal.

    Example:
        >>> env = GridWorld(["SG"], slippery=False)
        >>> after = env.step(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
        >>> after.state.tolist(), after.reward.item(), after.cost.item(), after.terminated.item()
        ([[0.0, 1.0]], 1.0, -1.0, True)
    """

    def __init__(
        self, layout: str | Sequence[str] = "4x4", slippery: bool = True, time_limit: int | None = None
    ) -> None:
        name = layout if isinstance(layout, str) else ""
        self.rows = _rows(layout)
        height, width = len(self.rows), len(self.rows[0])
        letters = "".join(self.rows)
        targets, rewards = [], []
        for s, letter in enumerate(letters):
            inside = [_moved(*divmod(s, width), move, height, width) for move in _MOVES]
            row = [s if letter in "GH#" or letters[target] == "#" else target for target in inside]
            targets.append(row)
            rewards.append([float(letters[target] == "G" and letter != "G") for target in row])
        starts = letters.count("S")
        super().__init__(
            targets=targets,
            rewards=rewards,
            terminal=[letter in "GH" for letter in letters],
            first=[(letter == "S") / starts for letter in letters],
            slips=[(_FAILURE, -1), (_SUCCESS, 0), (_FAILURE, 1)] if slippery else [(1.0, 0)],
            time_limit=_LIMITS.get(name) if time_limit is None else time_limit,
        )
        self.reward_threshold = _THRESHOLDS.get(name) if slippery else None

    def draw(self, state: Tensor) -> Any:
        from discrete_lightning.control.drawing.grid import draw_grid

        return draw_grid(self.rows, int(state.argmax()))


def _moved(row: int, column: int, move: tuple[int, int], height: int, width: int) -> int:
    down, right = move
    return min(max(row + down, 0), height - 1) * width + min(max(column + right, 0), width - 1)


def _rows(layout: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise ValueError(
                f"layout {layout!r} is not known: give {' or '.join(LAYOUTS)}, or a list of rows of letters"
            )
        return LAYOUTS[layout]
    rows = tuple(layout)
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"the rows of a layout must be of one length, at least 1; got {list(rows)}")
    strange = set("".join(rows)) - set("SFHG#")
    if strange:
        raise ValueError(f"letters of a layout are S, F, H, G and #; got {', '.join(sorted(strange))}")
    for letter, name in (("S", "start"), ("G", "goal")):
        if letter not in "".join(rows):
            raise ValueError(f"the layout has no {name}: put {letter} into {list(rows)}")
    return rows
