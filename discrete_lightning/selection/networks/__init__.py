"""Networks whose units are gated and tied, so that they can be pruned."""

from discrete_lightning.selection.networks.derived_network import DerivedNetwork
from discrete_lightning.selection.networks.gated_conv_net import GatedConvNet
from discrete_lightning.selection.networks.gated_transformer import GatedTransformer

__all__ = ["DerivedNetwork", "GatedConvNet", "GatedTransformer"]
