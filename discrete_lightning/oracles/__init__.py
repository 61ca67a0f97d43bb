"""What a designed sequence is scored by. Oracles are modules that take one-hot or relaxed sequences (..., length, letters)."""

from discrete_lightning.oracles.tfbind8 import TFBind8

__all__ = ["TFBind8"]
