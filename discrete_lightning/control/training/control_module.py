"""Base of models that act: their environments, evaluations, and whole episodes of a policy as it is."""

from typing import Any

import torch
from torch import Tensor

from discrete_lightning.control.environments.base import DifferentiableEnv
from discrete_lightning.control.evaluation import Act, EpisodeFigures, random_actions, run_episodes
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.vector.base import Observed
from discrete_lightning.control.vector.failing_together import failing_together
from discrete_lightning.distributed import rank, world_size
from discrete_lightning.functional.gumbel import gumbel_noise
from discrete_lightning.layers.private_state import PrivateState
from discrete_lightning.layers.relaxed import Evaluation
from discrete_lightning.training.restorable import RestorableModule

_VALIDATION, _TEST = 1_000_000, 2_000_000  # seeds of evaluations, away from those of the training


class ControlModule(RestorableModule):
    """Base of models that act in the environments of an `Environments` data module.

    Attributes:
        policy: over actions.
        evaluation: "mode", the most likely actions, or "draw", actions as in training from a fixed seed.
        counters: `environment_steps`, of all processes so far.
    """

    policy: CategoricalPolicy

    def __init__(self, evaluation: Evaluation = "mode") -> None:
        super().__init__()
        if evaluation not in ("mode", "draw"):
            raise ValueError(f"evaluation must be 'mode' or 'draw', got {evaluation!r}")
        self.evaluation = evaluation
        self.counters = EnvironmentSteps()

    def environments(self) -> Environments:
        """The data module.

        Raises:
            ValueError: if it is no `Environments`.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, Environments):
            raise ValueError(
                f"{type(self).__name__} acts in environments: give an Environments data module, such as "
                f"Environments('CartPole-v1'); the data is {type(data).__name__}"
            )
        return data

    def forward(self, observations: Tensor, legal: Tensor | None = None) -> Tensor:
        """The most likely actions, int64 (n, components), of observations (n, *shape)."""
        return self.policy(observations, legal).mode()

    def act(self, evaluation: Evaluation | None = None, seed: int = 0, first: int = 0, total: int = 1) -> Act:
        """How the policy acts in an evaluation: what there is to act on to actions.

        Args:
            evaluation: in the place of the module's own.
            seed: of draws.
            first: number of the first environment among those of all processes.
            total: number of all; the noise of all is drawn, so that any number of processes plays the same episodes.
        """
        generator = torch.Generator().manual_seed(seed)
        draws = (self.evaluation if evaluation is None else evaluation) == "draw"

        def act(now: Observed) -> Tensor:
            legal = None if now.legal is None else now.legal.to(self.device)
            policy = self.policy(now.observations.to(self.device), legal)
            if not draws:
                return policy.mode()
            logits = policy.logits
            shape = (total, *logits.shape[1:])
            noise = gumbel_noise(shape, dtype=torch.float32, device="cpu", generator=generator)
            return (logits + noise[first : first + len(logits)].to(logits)).argmax(-1)

        return act

    def evaluate(self, episodes: int, seed: int, random: bool = False) -> EpisodeFigures:
        """One whole episode of each of so many environments, divided among the ranks; the figures of all."""
        return self._own_episodes(episodes, seed, random).over_ranks()

    def _own_episodes(self, episodes: int, seed: int, random: bool) -> EpisodeFigures:
        """Those of this rank."""
        data = self.environments()
        size = -(-episodes // world_size())
        first = min(episodes, rank() * size)
        count = min(episodes, first + size) - first
        found = EpisodeFigures(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
        with failing_together(self.device):
            if count:
                environments = data.make(count, first, episodes, self.device)
                try:
                    act = (
                        random_actions(environments, episodes, seed)
                        if random
                        else self.act(seed=seed, first=first, total=episodes)
                    )
                    found = run_episodes(environments, act, data.seed + seed, environments.time_limit)
                finally:
                    environments.close()
        return EpisodeFigures(*(each.to(self.device) for each in found))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._log_episodes("val", self.evaluate(self.environments().episodes, _VALIDATION))
        self.log("environment_steps", float(self.counters.environment_steps), batch_size=1)

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Returns and lengths of the episodes of a test."""
        return self._own_episodes(self.environments().test_episodes, _TEST, False)._asdict()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        episodes = self.environments().test_episodes
        self._log_episodes("test", self.evaluate(episodes, _TEST))
        returns = self.evaluate(episodes, _TEST, random=True).returns
        self.log("test/random_return", returns.mean().float(), batch_size=1)
        self._log_exact()

    @torch.no_grad()
    def _log_exact(self) -> None:
        """What an environment of finitely many states says of the policy's probabilities in all of them."""
        data = self.environments()
        environments = data.make(1, 0, 1, self.device)
        env = getattr(environments, "env", None)
        if isinstance(env, DifferentiableEnv) and env.states is not None and len(env.actions) == 1:
            policy = self.policy(torch.eye(env.states, device=self.device))
            for name, value in env.exact_figures(policy.probabilities[:, 0]).items():
                self.log(f"test/{name}", value, batch_size=1)
        environments.close()

    def _log_episodes(self, stage: str, found: EpisodeFigures) -> None:
        self.log(f"{stage}/return", found.returns.mean().float(), prog_bar=True, batch_size=1)
        self.log(f"{stage}/length", found.lengths.float().mean(), batch_size=1)


class EnvironmentSteps(PrivateState):
    """The number of environment steps of all processes so far."""

    environment_steps: int

    def __init__(self) -> None:
        super().__init__()
        self.register_number("environment_steps", 0)
