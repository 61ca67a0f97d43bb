"""Routing in Lightning: models beside dense twins, data with planted experts, a monitor of routers, a report of experts."""

from discrete_lightning.routing.training.compared import ComparedModel
from discrete_lightning.routing.training.digit_sources import DigitSources
from discrete_lightning.routing.training.expert_report import ExpertReport
from discrete_lightning.routing.training.feed_forward import DenseFeedForward, FeedForward, MixtureFeedForward
from discrete_lightning.routing.training.language_model import RoutedLanguageModel
from discrete_lightning.routing.training.network import RoutedNetwork
from discrete_lightning.routing.training.planted_experts import PlantedExperts
from discrete_lightning.routing.training.router_monitor import RouterMonitor
from discrete_lightning.routing.training.transformer import CausalTransformer

__all__ = [
    "CausalTransformer",
    "ComparedModel",
    "DenseFeedForward",
    "DigitSources",
    "ExpertReport",
    "FeedForward",
    "MixtureFeedForward",
    "PlantedExperts",
    "RoutedLanguageModel",
    "RoutedNetwork",
    "RouterMonitor",
]
