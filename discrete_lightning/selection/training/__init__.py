"""Selection in Lightning."""

from discrete_lightning.selection.training.character_transformer import CharacterTransformer
from discrete_lightning.selection.training.patterns import PatternLearning, gap_closed

__all__ = ["CharacterTransformer", "PatternLearning", "gap_closed"]
