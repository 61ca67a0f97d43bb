"""Intrinsic rewards: what an entropy bonus cannot do is to seek what has not been seen."""

from discrete_lightning.control.bonuses.base import IntrinsicBonus
from discrete_lightning.control.bonuses.counts import CountBonus

__all__ = ["CountBonus", "IntrinsicBonus"]
