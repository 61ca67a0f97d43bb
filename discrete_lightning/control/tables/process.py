"""A decision process with finitely many states and actions, as tables: what exact answers are computed from."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

_SUM = 1e-9  # by which probabilities may miss 1


@dataclass(frozen=True, eq=False)
class TabularProcess:
    """Transitions, expected rewards and where episodes start.

    An episode ends with the probability that a row of `transitions` lacks to 1; nothing is earned after that. So the state that
    gymnasium gives at an end needs no rows of its own.

    Args:
        transitions: float64 (S, A, S), probability that action a in state s leads to state t and the episode goes on.
        rewards: float64 (S, A), expected reward of action a in state s.
        start: float64 (S,), distribution of the first state.

    Raises:
        ValueError: shapes do not fit, a number is not finite, or probabilities are negative or sum to more than 1.

    Example:
        >>> stay_or_end = torch.tensor([[[1.0], [0.0]]])  # one state: action 0 stays, action 1 ends the episode
        >>> process = TabularProcess(stay_or_end, torch.tensor([[0.0, 1.0]]), torch.tensor([1.0]))
        >>> process.states, process.actions, process.decisions
        (1, 2, tensor([True]))
    """

    transitions: Tensor
    rewards: Tensor
    start: Tensor

    def __post_init__(self) -> None:
        for name in ("transitions", "rewards", "start"):
            object.__setattr__(self, name, getattr(self, name).detach().to(torch.float64))
            if not getattr(self, name).isfinite().all():
                raise ValueError(f"{name} of a TabularProcess holds a number that is not finite")
        shapes = [tuple(each.shape) for each in (self.transitions, self.rewards, self.start)]
        states, actions = shapes[1] if len(shapes[1]) == 2 else (0, 0)
        if not states * actions or shapes != [(states, actions, states), (states, actions), (states,)]:
            raise ValueError(
                f"a TabularProcess needs tables (S, A, S), (S, A) and (S,), got {', '.join(map(str, shapes))}"
            )
        if self.transitions.min() < 0 or self.transitions.sum(-1).max() > 1 + _SUM:
            raise ValueError(
                "each row of transitions holds probabilities >= 0 that sum to at most 1; the rest is an end"
            )
        if self.start.min() < 0 or abs(self.start.sum().item() - 1) > _SUM:
            raise ValueError(f"start is a distribution over states, and it sums to {self.start.sum():g}")

    @property
    def states(self) -> int:
        """S."""
        return self.rewards.shape[0]

    @property
    def actions(self) -> int:
        """A."""
        return self.rewards.shape[1]

    @property
    def decisions(self) -> Tensor:
        """Bool (S,): states in which an action may have to be taken, those that can be reached from a start."""
        step = (self.transitions > 0).any(1)
        reached = self.start > 0
        while True:
            more = reached | step[reached].any(0)
            if torch.equal(more, reached):
                return reached
            reached = more

    def to(self, device: torch.device | str) -> Self:
        """The process with its tables on a device."""
        return type(self)(self.transitions.to(device), self.rewards.to(device), self.start.to(device))

    @classmethod
    def from_gymnasium(cls, env: Any) -> Self:
        """The process of a toy-text environment of gymnasium, from its own tables `P` and `initial_state_distrib`.

        Args:
            env: FrozenLake, Taxi, CliffWalking or any environment whose `unwrapped` has these two; wrappers, such as a time
                limit, are not seen.

        Raises:
            ValueError: the environment has no such tables, or does what they do not describe.
        """
        inner = env.unwrapped
        table, start = getattr(inner, "P", None), getattr(inner, "initial_state_distrib", None)
        if table is None or start is None:
            raise ValueError(
                f"{type(inner).__name__} holds no tables P and initial_state_distrib: a TabularProcess can be read from "
                "FrozenLake-v1, CliffWalking-v1 or Taxi-v4"
            )
        if getattr(inner, "fickle_passenger", False):
            raise ValueError(
                "the tables of Taxi do not describe a fickle passenger: make it with fickle_passenger=False"
            )
        states, actions = len(table), len(table[0])
        transitions = torch.zeros(states, actions, states, dtype=torch.float64).numpy()
        rewards = torch.zeros(states, actions, dtype=torch.float64).numpy()
        for state, row in table.items():
            for action, outcomes in row.items():
                for probability, following, reward, ended in outcomes:
                    rewards[state, action] += probability * reward
                    if not ended:
                        transitions[state, action, following] += probability
        return cls(
            torch.from_numpy(transitions), torch.from_numpy(rewards), torch.as_tensor(start, dtype=torch.float64)
        )


TOY_TEXT = ("FrozenLake-v1", "CliffWalking-v1", "Taxi-v4")


def toy_text(name: str) -> TabularProcess:
    """The process of a toy-text environment of gymnasium.

    Args:
        name: "FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", or the name of another environment with tables.

    Raises:
        ValueError: gymnasium does not know the name, it names a module to import, or the environment has no tables.
        ImportError: gymnasium is not installed.

    Example:
        >>> process = toy_text("Taxi-v4")
        >>> process.states, process.actions, int(process.decisions.sum())
        (500, 6, 400)
    """
    try:
        import gymnasium
    except ImportError:
        raise ImportError(f"{name} needs gymnasium: pip install 'discrete_lightning[control]'") from None
    if ":" in name:  # a config must not run code that nobody trusted
        raise ValueError(
            f"{name!r} names a module, which is not imported: TabularProcess.from_gymnasium takes the environment"
        )
    try:
        env = gymnasium.make(name)
    except gymnasium.error.Error as error:
        raise ValueError(f"{name!r} cannot be made: {error}; tables are known of {', '.join(TOY_TEXT)}") from None
    try:
        return TabularProcess.from_gymnasium(env)
    finally:
        env.close()
