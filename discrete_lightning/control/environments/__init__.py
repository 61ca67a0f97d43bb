"""Environments in torch: batched, differentiable in the action, with the dynamics of their gymnasium namesakes."""

from discrete_lightning.control.environments.acrobot import Acrobot
from discrete_lightning.control.environments.base import DifferentiableEnv, Transition
from discrete_lightning.control.environments.cart_pole import CartPole
from discrete_lightning.control.environments.deep_sea import DeepSea
from discrete_lightning.control.environments.finite import FiniteEnv
from discrete_lightning.control.environments.grid_world import GridWorld
from discrete_lightning.control.environments.mountain_car import MountainCar

__all__ = [
    "Acrobot",
    "CartPole",
    "DeepSea",
    "DifferentiableEnv",
    "FiniteEnv",
    "GridWorld",
    "MountainCar",
    "Transition",
]
