"""Environments in torch that are stepped together: `TorchEnvironments`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from discrete_lightning.control.environments.arrays import in_numpy
from discrete_lightning.control.environments.base import DifferentiableEnv, Transition
from discrete_lightning.control.vector.base import EnvironmentFault, Observed, Step, VectorEnvironments, all_counted


class TorchEnvironments(VectorEnvironments):
    """n copies of a `DifferentiableEnv`; an episode that has ended is followed by another one in the same step.

    The noise of all environments of all processes is drawn alike everywhere, and each process takes its own rows: 2 processes
    with 4 environments see what one process with 8 sees. Every process must therefore reset with the same seed and take as many
    steps. In a step at the time limit `truncated` is true, whether or not the episode has also come to an end of its own.

    Args:
        env: what an environment is.
        count: n, at least 1.
        first: number of the first environment among those of all processes.
        total: number of environments of all processes; None: count, if first is 0.
        device: where states are. Random numbers are drawn on the CPU, so that all devices see the same.
        dtype: of the states, and of the arithmetic: float32 or float64. Observations and rewards are float32.
        time_limit: the most steps of an episode, in place of the environment's own.

    Raises:
        ValueError: the numbers do not fit together.

    Example:
        >>> from discrete_lightning.control.environments import CartPole
        >>> environments = TorchEnvironments(CartPole(), count=2)
        >>> environments.reset(seed=0).observations.shape
        torch.Size([2, 4])
        >>> environments.step(torch.tensor([[0], [1]])).rewards
        tensor([1., 1.])
    """

    resumes = True

    def __init__(
        self,
        env: DifferentiableEnv,
        count: int,
        first: int = 0,
        total: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        time_limit: int | None = None,
    ) -> None:
        if count < 1 or first < 0:
            raise ValueError(f"count must be at least 1 and first at least 0, got count {count} and first {first}")
        if total is None and first:
            raise ValueError(f"first is {first}: total, the number of environments of all processes, must be given")
        if total is not None and total < first + count:
            raise ValueError(f"environments {first} to {first + count - 1} are not among a total of {total}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"states are float32 or float64, not {dtype}")
        if time_limit is not None and time_limit < 1:
            raise ValueError(f"time_limit must be at least 1 step, got {time_limit}")
        self.env = env
        self.name = type(env).__name__
        self.count = count
        self.first = first
        self.total = count if total is None else total
        self.observation_shape = env.observation_shape
        self.states = env.states
        self.actions = env.actions
        self.time_limit = env.time_limit if time_limit is None else time_limit
        self.reward_threshold = env.reward_threshold
        self._device = torch.device(device)
        self._dtype = dtype
        self._generator = torch.Generator()
        self._state: Tensor | None = None
        self._cpu = self._device.type == "cpu"
        self._sizes: Any = (
            np.array(self.actions, np.uint64) if self._cpu else torch.tensor(self.actions).to(self._device)
        )
        self._limit = torch.iinfo(torch.int64).max if self.time_limit is None else self.time_limit
        self._steps = self._counts(torch.zeros(count, dtype=torch.int64))

    def reset(self, seed: int) -> Observed:
        """Starts an episode in each environment.

        Args:
            seed: of the noise of all environments; the same on all processes.
        """
        self._generator.manual_seed(seed)
        with torch.no_grad():
            self._state = self.env.start(self._noise(self.env.start_noise))
        self._steps = self._steps * 0
        return self._observed(self._state)

    def step(self, actions: Tensor, active: Tensor | None = None) -> Step:
        del active  # all are stepped: that is as fast, and the noise goes on alike
        actions = actions.to(self._device)
        self._check(actions)
        with torch.no_grad():
            fresh, noise = self._noises()
            return self._after(self.env.take(self._now().detach(), actions, noise), fresh)

    def differentiable_step(self, one_hot: Tensor) -> tuple[Transition, Step]:
        """A step by actions through which gradients pass; the graph goes on through the states until `detach`.

        Args:
            one_hot: (n, sum of actions), one-hot vectors of each component one after another, or anything of that shape.

        Returns:
            The transition, its cost with a gradient to the actions so far; and what `step` returns, whose observations have
            that gradient, too. Where an episode has ended, the graph ends with it.
        """
        if one_hot.shape != (self.count, sum(self.actions)):
            raise ValueError(f"actions must be {(self.count, sum(self.actions))} one-hot, got {tuple(one_hot.shape)}")
        fresh, noise = self._noises()
        transition = self.env.step(self._now(), one_hot.to(self._dtype), noise)
        return transition, self._after(transition, fresh)

    def detach(self) -> Observed:
        """Cuts the graph through the states; returns what there is to act on."""
        state = self._now().detach()
        self._state = state.clone() if state.is_inference() else state  # what inference mode made, autograd refuses
        return self._observed(self._state)

    def state_dict(self) -> dict[str, Any]:
        """States, step counts and generator: a run that is resumed goes on to the bit."""
        return {
            "state": self._now().detach().clone(),
            "steps": torch.as_tensor(self._steps).clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> Observed:
        """Goes on from `state_dict`; returns what there is to act on.

        Raises:
            ValueError: the state is that of another number of environments or of another environment.
        """
        expected = (self.count, self.env.state_size)
        if tuple(state["state"].shape) != expected:
            raise ValueError(f"the saved state is {tuple(state['state'].shape)}, this one {expected} ({self.name})")
        self._state = state["state"].to(self._device, self._dtype, copy=True)
        self._steps = self._counts(state["steps"].clone())
        self._generator.set_state(state["generator"].cpu())
        return self._observed(self._state)

    def frame(self, index: int = 0) -> Any:
        try:
            return self.env.draw(self._now()[index].detach().cpu())
        except NotImplementedError:
            raise EnvironmentFault(f"{self.name} cannot be drawn: it has no `draw`") from None
        except ImportError as error:
            raise EnvironmentFault(f"{self.name} cannot be drawn: {error}") from error

    def _after(self, transition: Transition, fresh: Tensor) -> Step:
        """Takes over the new states, or first ones where an episode has ended."""
        state, terminated = transition.state, transition.terminated
        # on the CPU the few flags and counters are in numpy, which is faster there
        ends = terminated.numpy() if self._cpu else terminated
        steps = self._steps + 1
        late = steps >= self._limit
        ended = ends | late
        final = following = self._observations(state)
        if ended.any():
            state = self._replaced(ended, fresh, state)
            steps = steps * ~ended
            following = self._observations(state)
        self._state, self._steps = state, steps
        rewards = transition.reward.detach()
        if rewards.dtype is not torch.float32:
            rewards = rewards.float()
        truncated = torch.from_numpy(late) if self._cpu else late
        return Step(Observed(following), rewards, terminated, truncated, final, all_counted(rewards))

    def _replaced(self, ended: Any, fresh: Tensor, state: Tensor) -> Tensor:
        """States, first ones where an episode has ended."""
        if in_numpy(state):
            joined = state.numpy().copy()
            joined[ended] = self.env.start(torch.from_numpy(fresh.numpy()[ended])).numpy()
            return torch.from_numpy(joined)
        return torch.where(torch.as_tensor(ended)[:, None], self.env.start(fresh), state)

    def _counts(self, steps: Tensor) -> Any:
        """Steps of the running episodes: in numpy on the CPU."""
        return steps.cpu().numpy() if self._cpu else steps.to(self._device)

    def _now(self) -> Tensor:
        if self._state is None:
            raise RuntimeError(f"call reset before anything else is asked of {type(self).__name__}")
        return self._state

    def _observations(self, state: Tensor) -> Tensor:
        observations = self.env.observe(state)
        return observations if observations.dtype is torch.float32 else observations.float()

    def _observed(self, state: Tensor) -> Observed:
        with torch.no_grad():
            return Observed(self._observations(state))

    def _noises(self) -> tuple[Tensor, Tensor | None]:
        """Uniform numbers for first states, whether needed or not (another process may need them), and for the step."""
        start, step = self.env.start_noise, self.env.step_noise
        both = self._noise(start + step)
        return (both[:, :start], both[:, start:]) if step else (both, None)

    def _noise(self, numbers: int) -> Tensor:
        every = torch.rand(self.total, numbers, generator=self._generator, dtype=self._dtype)
        mine = every if self.total == self.count else every[self.first : self.first + self.count]
        return mine if self._cpu else mine.to(self._device)

    def _check(self, actions: Tensor) -> None:
        """Raises `EnvironmentFault` unless actions are (n, components) and each is in its range."""
        if actions.dtype is not torch.int64 or actions.shape != (self.count, len(self.actions)):
            raise EnvironmentFault(
                f"actions must be int64 {(self.count, len(self.actions))}, got {actions.dtype} {tuple(actions.shape)}"
            )
        values = (
            actions.numpy().view(np.uint64) if self._cpu else actions
        )  # without its sign a negative number is large
        wrong = (values >= self._sizes) if self._cpu else (values < 0) | (values >= self._sizes)
        if wrong.any():
            row, component = (int(each) for each in torch.as_tensor(wrong).nonzero()[0])
            which = f" component {component}" if len(self.actions) > 1 else ""
            raise EnvironmentFault(
                f"environment {self.first + row} ({self.name}): action{which} {int(actions[row, component])} is not in "
                f"0..{self.actions[component] - 1}"
            )
