"""Causal networks: tokens to the logits of the next token."""

from discrete_lightning.text.networks.gru import GRUNetwork
from discrete_lightning.text.networks.token_network import TokenNetwork
from discrete_lightning.text.networks.transformer import TransformerNetwork

__all__ = ["GRUNetwork", "TokenNetwork", "TransformerNetwork"]
