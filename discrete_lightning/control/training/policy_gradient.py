"""An agent that learns to act: any method, any environment, one training batch for each rollout."""

from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from discrete_lightning.control.bonuses import IntrinsicBonus
from discrete_lightning.control.collector import Collector
from discrete_lightning.control.methods import PPO, ControlMethod
from discrete_lightning.control.methods.base import NetworkShape
from discrete_lightning.control.methods.options import check_options
from discrete_lightning.control.networks import Activation, ControlMLP
from discrete_lightning.control.policy import CategoricalPolicy
from discrete_lightning.control.reward_scale import RewardScale
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.running_norm import RunningNorm
from discrete_lightning.control.training.control_module import ControlModule
from discrete_lightning.control.training.environments import Environments
from discrete_lightning.control.training.resume import FitState
from discrete_lightning.distributed import all_reduce_sum, broadcast_, rank, world_size
from discrete_lightning.estimators import Estimator, StraightThroughGumbel
from discrete_lightning.functional._arguments import check_positive
from discrete_lightning.layers.relaxed import Evaluation
from discrete_lightning.layers.temperature import LossWeight, Temperature
from discrete_lightning.training.own_reduction import average_gradients, check_own_reduction, own_reduction
from discrete_lightning.training.wandb_media import use_step_axis

Objective = Literal["regularized", "maximum_entropy"]
_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")


class PolicyGradient(ControlModule):
    """Trains a policy of discrete actions in the environments of an `Environments` data module.

    A training batch is a rollout of `data.steps` steps (or one whole episode) of `data.number` environments, and all that
    the method learns from it. Validation and test run whole episodes, one of each environment, from fixed seeds, by the
    most likely actions. Logged while training: `train/loss`, `train/return` and `train/length` of the episodes that ended,
    `train/entropy` (nats a step), the method's own figures (`train/explained_variance`, `train/kl`, `train/clip_fraction`),
    `temperature` where the policy has one, and `environment_steps`, of all processes; of evaluations `return` and `length`, and
    in the test `test/random_return` of uniform actions.

    Two objectives have an entropy bonus of weight beta, and different optima:

        regularized        E sum gamma^t r_t, and beta H in the loss alone (A2C, PPO): fixed point softmax(Q^pi / beta)
        maximum_entropy    E sum gamma^t (r_t + beta H_t): optimum softmax(Q_soft / beta)

    Args:
        method: REINFORCE, LeaveOneOut, A2C, PPO, SAC, AllActions or Path.
        estimator: of Path, by default StraightThroughGumbel; no other method has one.
        relaxation: temperature of the estimator, found by `TemperatureAnnealing`.
        temperature: of the policy softmax(f / tau): a number or a `Temperature`; None: 1. A learned one needs `normed`.
        normed: whether the logits f have a fixed scale: see `CategoricalPolicy`.
        entropy_weight: beta >= 0, a `LossWeight` that `WeightAnnealing` can move.
        objective: which of the two above.
        gamma: discount, in [0, 1].
        discounted: whether step t of an episode weighs gamma^t in the gradient, as that of the discounted return has it. Common
            practice leaves it out.
        hidden: units of each hidden layer of policy and critics; empty: tables, where observations are one-hot.
        activation: "tanh", "relu" or "silu".
        norm_observations: whether networks see observations less their running mean, divided by their deviation.
        norm_rewards: whether rewards are divided by the running deviation of the discounted return.
        bonus: an intrinsic reward for what is new, such as `CountBonus`.
        learning_rate: of Adam.
        gradient_clip: largest norm of the gradient; None: any.
        evaluation: "mode", the most likely actions, or "draw", actions as in training from a fixed seed.
        observation_shape: of one observation; None: that of the data.
        actions: number of actions of each component; None: those of the data.

    Raises:
        ValueError: if arguments do not go together; in setup, if the data do not fit.

    Example:
        >>> model = PolicyGradient(PPO(epochs=4), observation_shape=[4], actions=[2])
        >>> model.eval()(torch.zeros(3, 4))
        tensor([[0],
                [0],
                [0]])
    """

    def __init__(
        self,
        method: ControlMethod | None = None,
        estimator: Estimator | None = None,
        relaxation: float = 1.0,
        temperature: Temperature | float | None = None,
        normed: bool = False,
        entropy_weight: float = 0.0,
        objective: Objective = "regularized",
        gamma: float = 0.99,
        discounted: bool = False,
        hidden: list[int] | None = None,
        activation: Activation = "tanh",
        norm_observations: bool = False,
        norm_rewards: bool = False,
        bonus: IntrinsicBonus | None = None,
        learning_rate: float = 1e-3,
        gradient_clip: float | None = 0.5,
        evaluation: Evaluation = "mode",
        observation_shape: list[int] | None = None,
        actions: list[int] | None = None,
    ) -> None:
        super().__init__(evaluation)
        self.automatic_optimization = False
        self.method = PPO() if method is None else method
        returns = {"objective": objective != "regularized", "norm_rewards": norm_rewards, "bonus": bonus is not None}
        check_options(self.method, estimator, returns, normed, discounted)
        if objective not in get_args(Objective):
            raise ValueError(f"objective is one of {', '.join(get_args(Objective))}, got {objective!r}")
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma is in [0, 1], got {gamma}")
        check_positive(
            learning_rate=learning_rate, **({} if gradient_clip is None else {"gradient_clip": gradient_clip})
        )
        self.maximum_entropy, self.discounted, self.gamma = objective == "maximum_entropy", discounted, float(gamma)
        self.learning_rate, self.gradient_clip = learning_rate, gradient_clip
        self.entropy_weight = LossWeight(entropy_weight)
        self.bonus = bonus
        self.rewards = RewardScale(gamma) if norm_rewards else None
        self.parts = nn.ModuleDict()
        self.memory = self.method.memory()
        self._policy_options: dict[str, Any] = {
            "temperature": temperature if temperature is None or isinstance(temperature, Temperature) else float(temperature),
            "normed": normed, "estimator": (estimator or StraightThroughGumbel()) if self.method.path else None,
            "relaxation": relaxation,
        }  # fmt: skip
        self._network_options = ([64, 64] if hidden is None else list(hidden), activation, norm_observations)
        self._collector: Collector | None = None
        self._fit_state = FitState(self.memory)
        self._built: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self.steps = 1
        self._losses: list[Tensor] = []
        self._seen: Rollout | None = None
        self.figures: dict[str, float] = {}  # of the last update
        if isinstance(temperature, Temperature) and temperature.learnable and not normed:
            CategoricalPolicy(nn.Identity(), 1, temperature)  # says why not
        if observation_shape is not None and actions is not None:
            self.build(tuple(observation_shape), tuple(actions))

    # What a subclass may change.

    def build(self, observation: tuple[int, ...], actions: tuple[int, ...]) -> None:
        """Makes the policy and the method's parts for observations of a shape and so many actions of each component."""
        if self.method.single and len(actions) > 1:
            raise ValueError(
                f"{type(self.method).__name__} chooses one action at a time, and the environment takes {len(actions)} at once, "
                f"of {list(actions)}: use PPO, A2C, REINFORCE or LeaveOneOut"
            )
        hidden, activation, normed = self._network_options
        norm = RunningNorm(observation) if normed else None
        network = ControlMLP(observation, sum(actions), hidden, activation, gain=0.01, norm=norm)
        self.observation_norm = norm
        self.policy = CategoricalPolicy(network, actions, **self._policy_options)
        self.parts.update(self.method.parts(NetworkShape(observation, actions, tuple(hidden), activation, norm)))
        self.record(observation_shape=list(observation), actions=list(actions))
        self._built = (observation, actions)

    # What methods ask of an agent.

    @property
    def beta(self) -> Tensor:
        """Weight of the entropy bonus, 0-dim float32."""
        return self.entropy_weight()

    @property
    def collector(self) -> Collector:
        """Of the environments of the fit."""
        if self._collector is None:
            raise RuntimeError("there are environments during a fit alone")
        return self._collector

    def collect(self, whole_episodes: bool = False) -> Rollout:
        """A rollout, with rewards as they are learned from."""
        environments = self.collector.environments
        if whole_episodes:
            limit = environments.time_limit
            assert limit is not None  # `Environments` refuses those without
            rollout = self.collector.collect_episodes(limit, self.policy, self.policy.choice)
        else:
            rollout = self.collector.collect(self.steps, self.policy, self.policy.choice)
        rewards = rollout.rewards
        if self.rewards is not None:
            rewards = self.rewards(rollout)
        if self.bonus is not None:
            rewards = rewards + self.bonus(rollout)
        rollout.rewards = rewards
        self.saw(rollout)
        return rollout

    def saw(self, rollout: Rollout) -> None:
        """Takes note of a rollout, for the running statistics."""
        self._seen = rollout

    def descend(self, loss: Tensor) -> None:
        """One step of Adam on the gradient of all ranks."""
        optimizer: Any = self.optimizers()
        self.manual_backward(loss)
        parameters = [each for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
        average_gradients(parameters)
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, self.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self._losses.append(loss.detach())

    # Training.

    def configure_callbacks(self) -> list[Callback]:
        """Makes the policy for the data: callbacks look for its layers in their `setup`, which comes before the module's."""
        self._build_for(self.environments())
        self._seed = torch.randint(2**40, (), device="cpu")  # here, since ddp reseeds ranks hereafter
        return []

    def _build_for(self, data: Environments) -> None:
        found = (data.observation_shape, data.actions)
        if self._built is None:
            self.build(*found)
        elif self._built != found:
            raise ValueError(
                f"the model acts on observations {list(self._built[0])} with {list(self._built[1])} actions, and "
                f"{data.name} has observations {list(found[0])} and {list(found[1])} actions: it is another environment"
            )

    def setup(self, stage: str) -> None:
        self._build_for(data := self.environments())
        if stage != "fit":
            return
        check_own_reduction(self, _PRECISIONS)
        self.method.check(self.trainer.world_size * data.number)
        if self.method.path and not data.differentiable:
            raise ValueError(
                f"Path differentiates the environment, and {data.name} is none in torch: set data.environment to "
                "CartPole, Acrobot, MountainCar, GridWorld or DeepSea, or take a method of score functions, such as PPO"
            )
        if self.bonus is not None:
            self.bonus.check(data.states, data.actions)

    def on_fit_start(self) -> None:
        data = self.environments()
        self._close()
        use_step_axis(self.trainer, "environment_steps")
        seed = broadcast_(self._seed.to(self.device))
        total = world_size() * data.number
        environments = data.make(data.number, rank() * data.number, total, self.device)
        self._collector = Collector(environments, total, data.seed, self.device)
        self._collector.generator.manual_seed(int(seed))
        self.steps = data.steps
        self._fit_state.go_on(self._collector, self.rewards, self.method.whole_episodes)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self._losses, self._seen = [], None
        self._fit_state.begin_update()
        with own_reduction(self):
            figures = self.method.update(self)
        if not self._losses:  # a memory that is not yet full: Lightning counts steps of the optimiser
            self._idle_step()
        self._after_update()
        self._log_update(figures)
        self._fit_state.note()

    def _idle_step(self) -> None:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad(set_to_none=True)
        optimizer.step()

    @torch.no_grad()
    def _after_update(self) -> None:
        """Running statistics, of which an update must see the same from its start to its end."""
        rollout = self._seen
        assert rollout is not None
        if self.observation_norm is not None:
            self.observation_norm.update(rollout.observations, rollout.counted)
        if self.policy.norm is not None:
            self.policy.norm.update(self.policy.raw_logits(rollout.observations, rollout.legal), rollout.counted)
        self.counters.environment_steps += int(all_reduce_sum(rollout.counted.sum()))

    def _log_update(self, figures: dict[str, Tensor]) -> None:
        loss = torch.stack(self._losses).mean() if self._losses else torch.zeros((), device=self.device)
        found: dict[str, Any] = {f"train/{name}": value for name, value in figures.items()}
        found["train/loss"] = loss
        found |= {f"train/{name}": value for name, value in self.collector.episodes.take().items()}
        if self.policy.temperature is not None:
            found["temperature"] = self.policy.temperature().detach()
        found["environment_steps"] = float(self.counters.environment_steps)
        self.figures = {name: float(value) for name, value in found.items()}
        shown = {name: each for name, each in found.items() if name in ("train/return", "train/entropy")}
        self.log_dict(shown, prog_bar=True, on_step=True, on_epoch=False)
        others = {name: each for name, each in found.items() if name not in shown}
        self.log_dict(others, on_step=True, on_epoch=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trained = [each for each in self.parameters() if each.requires_grad]
        fused = all(each.is_floating_point() and each.device.type in ("cpu", "cuda") for each in trained)
        return torch.optim.Adam(trained, self.learning_rate, eps=1e-5, fused=fused)

    # State.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["environments"] = self._fit_state.saved()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._fit_state.loaded(checkpoint.get("environments", {}))

    def rank_state(self) -> Any:
        """The memory of this rank's transitions, where there are several ranks: see `HasRankState`."""
        return self._fit_state.rank_state()

    def set_rank_state(self, state: Any, device: torch.device) -> None:
        """Restores `rank_state`."""
        self._fit_state.set_rank_state(state)

    def on_fit_end(self) -> None:
        self._close()

    def _close(self) -> None:
        self._fit_state.end()
        self._collector, self._seen = None, None
