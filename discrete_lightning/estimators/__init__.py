"""Gradient estimators for discrete choices: small frozen dataclasses over `functional`, which a config names by one word."""

from discrete_lightning.estimators.base import Estimator
from discrete_lightning.estimators.gumbel_softmax import GumbelSoftmax
from discrete_lightning.estimators.straight_through import StraightThrough
from discrete_lightning.estimators.straight_through_gumbel import StraightThroughGumbel

__all__ = ["Estimator", "GumbelSoftmax", "StraightThrough", "StraightThroughGumbel"]
