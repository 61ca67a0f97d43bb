"""How a policy learns from what it did: one method a file, paper first."""

from discrete_lightning.control.methods.a2c import A2C
from discrete_lightning.control.methods.all_actions import AllActions
from discrete_lightning.control.methods.base import Agent, ControlMethod
from discrete_lightning.control.methods.leave_one_out import LeaveOneOut
from discrete_lightning.control.methods.path import Path
from discrete_lightning.control.methods.ppo import PPO
from discrete_lightning.control.methods.reinforce import REINFORCE
from discrete_lightning.control.methods.sac import SAC

__all__ = ["A2C", "PPO", "REINFORCE", "SAC", "Agent", "AllActions", "ControlMethod", "LeaveOneOut", "Path"]
