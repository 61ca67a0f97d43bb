"""Codebooks in Lightning: autoencoders, monitors, decoding."""

from discrete_lightning.vq.training.autoencoder import Reconstruction, VQAutoencoder
from discrete_lightning.vq.training.codebook_monitor import CodebookMonitor

__all__ = ["CodebookMonitor", "Reconstruction", "VQAutoencoder"]
