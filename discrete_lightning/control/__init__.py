"""Control: an agent's discrete action, trained by score functions or along the path through a differentiable environment."""

from discrete_lightning.control.action_distribution import ActionDistribution
from discrete_lightning.control.advantage import Advantages, generalized_advantage
from discrete_lightning.control.bonuses import CountBonus, IntrinsicBonus
from discrete_lightning.control.collector import Collector
from discrete_lightning.control.environments import (
    Acrobot,
    CartPole,
    DeepSea,
    DifferentiableEnv,
    GridWorld,
    MountainCar,
    Transition,
)
from discrete_lightning.control.episodes import Episodes
from discrete_lightning.control.evaluation import EpisodeFigures, random_actions, run_episodes
from discrete_lightning.control.logit_norm import LogitNorm
from discrete_lightning.control.methods import A2C, PPO, REINFORCE, SAC, AllActions, ControlMethod, LeaveOneOut, Path
from discrete_lightning.control.networks import ControlMLP
from discrete_lightning.control.policy import ActionChoice, CategoricalPolicy
from discrete_lightning.control.ppo import clipped_value_loss, ppo_clip
from discrete_lightning.control.replay import Replay
from discrete_lightning.control.reward_scale import RewardScale
from discrete_lightning.control.rollout import Rollout
from discrete_lightning.control.running_norm import RunningNorm
from discrete_lightning.control.tables.process import TabularProcess
from discrete_lightning.control.tables.soft_values import soft_value_iteration
from discrete_lightning.control.target_entropy import TargetEntropy
from discrete_lightning.control.vector.base import EnvironmentFault, Observed, Step, VectorEnvironments
from discrete_lightning.control.vector.torch_environments import TorchEnvironments

__all__ = [
    "A2C",
    "PPO",
    "REINFORCE",
    "SAC",
    "Acrobot",
    "ActionChoice",
    "ActionDistribution",
    "Advantages",
    "AllActions",
    "CartPole",
    "CategoricalPolicy",
    "Collector",
    "ControlMLP",
    "ControlMethod",
    "CountBonus",
    "DeepSea",
    "DifferentiableEnv",
    "EnvironmentFault",
    "EpisodeFigures",
    "Episodes",
    "GridWorld",
    "IntrinsicBonus",
    "LeaveOneOut",
    "LogitNorm",
    "MountainCar",
    "Observed",
    "Path",
    "Replay",
    "RewardScale",
    "Rollout",
    "RunningNorm",
    "Step",
    "TabularProcess",
    "TargetEntropy",
    "TorchEnvironments",
    "Transition",
    "VectorEnvironments",
    "clipped_value_loss",
    "generalized_advantage",
    "ppo_clip",
    "random_actions",
    "run_episodes",
    "soft_value_iteration",
]
