"""Conditional computation: mixtures of experts and conditional depth, in plain PyTorch."""

from discrete_lightning.routing import choices as _choices  # noqa: F401 - tells ChoiceMonitor what a router chose
from discrete_lightning.routing.conditional import Conditional
from discrete_lightning.routing.expert_load import ExpertLoad
from discrete_lightning.routing.experts import ExpertMLP, Experts, StackedMLP, StackedModules
from discrete_lightning.routing.mixture import MixtureOfExperts
from discrete_lightning.routing.mutual_information import NormalizedMutualInformation
from discrete_lightning.routing.routed import Routed
from discrete_lightning.routing.router import Router
from discrete_lightning.routing.routers import (
    BiasBalancedRouter,
    ExpertChoiceRouter,
    NoisyTopKRouter,
    ReMoERouter,
    SampledRouter,
    SwitchRouter,
    TopKRouter,
)
from discrete_lightning.routing.routing_loss import routing_loss
from discrete_lightning.routing.token_gate import Gated, TokenGate
from discrete_lightning.routing.upcycle import upcycle

__all__ = [
    "BiasBalancedRouter",
    "Conditional",
    "ExpertChoiceRouter",
    "ExpertLoad",
    "ExpertMLP",
    "Experts",
    "Gated",
    "MixtureOfExperts",
    "NoisyTopKRouter",
    "NormalizedMutualInformation",
    "ReMoERouter",
    "Routed",
    "Router",
    "SampledRouter",
    "StackedMLP",
    "StackedModules",
    "SwitchRouter",
    "TokenGate",
    "TopKRouter",
    "routing_loss",
    "upcycle",
]
