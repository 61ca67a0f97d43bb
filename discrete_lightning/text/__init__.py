"""Text: the next word as a discrete choice, and generators that are trained through the words they sample."""

from discrete_lightning.text.networks import GRUNetwork, TokenNetwork, TransformerNetwork

__all__ = ["GRUNetwork", "TokenNetwork", "TransformerNetwork"]
