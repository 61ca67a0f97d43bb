"""Takes a policy through environments: rollouts of a fixed number of steps, or of whole episodes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.action_distribution import ActionDistribution
from discrete_lightning.control.episodes import Episodes
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.vector.base import Observed, Step, VectorEnvironments
from discrete_lightning.control.vector.failing_together import failing_together
from discrete_lightning.functional.gumbel import gumbel_noise

Distribution = Callable[[Tensor, Tensor | None], ActionDistribution]
Choice = Callable[[Tensor, Tensor | None], Tensor]


class Collector:
    """Holds the environments of this process, and where they are.

    The noise of the actions of all processes is drawn from one generator that all advance alike, and each takes that of its own
    environments: two processes of four environments do what one of eight does.

    Args:
        environments: n of them.
        total: number of environments of all processes; None: n.
        seed: of the first episodes, and of the noise.
        device: where the policy is.
    """

    def __init__(
        self,
        environments: VectorEnvironments,
        total: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.environments, self.device = environments, torch.device(device)
        self.total = environments.count if total is None else total
        self.generator = torch.Generator().manual_seed(seed)
        self.seed, self.started = seed, 0
        self.episodes = Episodes.start(environments.count)
        self._now: Observed | None = None

    @property
    def own(self) -> slice:
        """The environments of this process among all."""
        return slice(self.environments.first, self.environments.first + self.environments.count)

    @property
    def now(self) -> Observed:
        """What there is to act on; the first episodes start when it is first asked for."""
        if self._now is None:
            self.restart()
        assert self._now is not None
        return self._now

    def restart(self) -> None:
        """Starts an episode in each environment; each time others."""
        self._now = self._here(self.environments.reset(self.seed + self.started * self.total))
        self.started += 1
        self.episodes.returns.zero_()
        self.episodes.lengths.zero_()

    def collect(self, steps: int, distribution: Distribution, choice: Choice) -> Rollout:
        """`steps` steps of each environment, from where they are.

        Args:
            steps: T, 1 or more.
            distribution: observations (n, *shape) and legal actions to the policy's distribution.
            choice: logits (n, M, A) and Gumbel noise to actions (n, M): the policy's `ActionChoice`.
        """
        return self._walk(steps, distribution, choice, False)

    def collect_episodes(self, limit: int, distribution: Distribution, choice: Choice) -> Rollout:
        """One whole episode of each environment, of at most `limit` steps; those that have ended stand still.

        Steps after an episode's end are not counted. T is the length of the longest of this process.
        """
        self._now = None
        return self._walk(limit, distribution, choice, True)

    @torch.no_grad()
    def _walk(self, steps: int, distribution: Distribution, choice: Choice, whole: bool) -> Rollout:
        if steps < 1:
            raise ValueError(f"a rollout has 1 step or more, got {steps}")
        with failing_together(self.device):  # environments may fail as they start, too
            observed = self.now
        rows: list[tuple[Observed, Tensor, Step, Tensor, Tensor]] = []
        active = torch.ones(self.environments.count, dtype=torch.bool)
        generator, noise = self.generator, None
        if whole:  # how many steps are taken differs between processes, how much noise is drawn must not
            seed = int(torch.randint(2**62, (), generator=self.generator))
            generator = torch.Generator().manual_seed(seed)
        with failing_together(self.device):
            for _ in range(steps):
                policy = distribution(*observed)
                shape = (self.total, *policy.logits.shape[1:])
                noise = gumbel_noise(shape, dtype=torch.float32, device="cpu", generator=generator)[self.own]
                actions = choice(policy.logits, noise.to(self.device))
                time = self.episodes.lengths.clone()
                step = on_host(self.environments.step(actions, active if whole else None))
                ended = (step.terminated | step.truncated) & step.counted & active
                counted = step.counted & active if whole else step.counted
                self.episodes.add(step.rewards.double(), ended, counted)
                rows.append((observed, actions, step, counted, time))
                observed = self._here(step.next)
                if whole:
                    active = active & ~ended
                    if not bool(active.any()):
                        break
        self._now = observed
        return self._stack(rows)

    def device_generator(self) -> torch.Generator:
        """A generator on the policy's device, seeded anew by the noise of this one; equal on all ranks."""
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return torch.Generator(self.device).manual_seed(seed)

    def count(self, step: Step) -> None:
        """Counts a step that somebody else took, for returns and lengths of episodes."""
        self.episodes.add(step.rewards.double().cpu(), (step.terminated | step.truncated).cpu(), step.counted.cpu())

    def move(self, observed: Observed) -> None:
        """Says where the environments are after steps that somebody else took."""
        self._now = self._here(observed)

    def _stack(self, rows: list[tuple[Observed, Tensor, Step, Tensor, Tensor]]) -> Rollout:
        def of_steps(values: list[Tensor]) -> Tensor:
            return torch.stack(values).to(self.device)

        steps = [each for _, _, each, _, _ in rows]
        counted = torch.stack([each for _, _, _, each, _ in rows])
        truncated = torch.stack([each.truncated for each in steps]) & counted
        final = torch.cat([each.final[cut] for each, cut in zip(steps, truncated, strict=True)])
        first = rows[0][0]
        return Rollout(
            of_steps([each.observations for each, *_ in rows]),
            of_steps([each for _, each, *_ in rows]),
            of_steps([each.rewards for each in steps]),
            (torch.stack([each.terminated for each in steps]) & counted).to(self.device),
            truncated.to(self.device),
            counted.to(self.device),
            self.now.observations,
            final.to(self.device),
            None if first.legal is None else of_steps([each.legal for each, *_ in rows if each.legal is not None]),
            self.now.legal,
            of_steps([each for *_, each in rows]),
        )

    def _here(self, observed: Observed) -> Observed:
        legal = observed.legal
        return Observed(observed.observations.to(self.device), None if legal is None else legal.to(self.device))

    def state_dict(self) -> dict[str, Any]:
        """Where the environments are, in so far as they can be stored, and the noise."""
        state: dict[str, Any] = {"generator": self.generator.get_state(), "started": self.started, "seed": self.seed}
        if self.environments.resumes and self._now is not None:
            state["environments"] = self.environments.state_dict()
            state["returns"], state["lengths"] = self.episodes.returns.clone(), self.episodes.lengths.clone()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Goes on from a state; returns whether the episodes go on, too, and are not started anew.

        Raises:
            EnvironmentFault: the environments do not come to where they were; a state without them will do.
        """
        self._now = None
        self.generator.set_state(state["generator"].cpu())
        self.started, self.seed = int(state["started"]), int(state["seed"])
        if "environments" not in state or len(state["lengths"]) != self.environments.count:
            return self.started == 0
        self._now = self._here(self.environments.load_state_dict(state["environments"]))
        self.episodes.returns.copy_(state["returns"])
        self.episodes.lengths.copy_(state["lengths"])
        return True


def on_host(step: Step) -> Step:
    """A step whose flags and rewards are on the CPU, where episodes are counted; what is acted on stays where it is."""
    return Step(
        step.next,
        step.rewards.cpu(),
        step.terminated.cpu(),
        step.truncated.cpu(),
        step.final.cpu(),
        step.counted.cpu(),
    )
