"""Loss terms of discrete models."""

from discrete_lightning._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
