"""Routers, one a file, and the words that choose them."""

from discrete_lightning.routing.routers.bias_balanced import BiasBalancedRouter
from discrete_lightning.routing.routers.by_word import ROUTERS, router_of
from discrete_lightning.routing.routers.expert_choice import ExpertChoiceRouter
from discrete_lightning.routing.routers.noisy_top_k import NoisyTopKRouter
from discrete_lightning.routing.routers.remoe import ReMoERouter
from discrete_lightning.routing.routers.sampled import SampledRouter
from discrete_lightning.routing.routers.switch import SwitchRouter
from discrete_lightning.routing.routers.top_k import TopKRouter

__all__ = [
    "ROUTERS",
    "BiasBalancedRouter",
    "ExpertChoiceRouter",
    "NoisyTopKRouter",
    "ReMoERouter",
    "SampledRouter",
    "SwitchRouter",
    "TopKRouter",
    "router_of",
]
