"""What a designed sequence is scored by: modules that take one-hot or relaxed sequences (batch, letters, length)."""

from discrete_lightning.oracles.ehrlich import Ehrlich
from discrete_lightning.oracles.motif_scan import MotifScan, read_jaspar
from discrete_lightning.oracles.sequence_cnn import SequenceCNN
from discrete_lightning.oracles.tfbind8 import TFBind8

__all__ = ["Ehrlich", "MotifScan", "SequenceCNN", "TFBind8", "read_jaspar"]
