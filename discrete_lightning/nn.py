"""Modules with state: layers, quantisers, architecture choices. They know nothing of Lightning and work in plain PyTorch."""

from discrete_lightning._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
