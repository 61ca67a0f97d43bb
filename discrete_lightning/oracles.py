"""The former place of `discrete_lightning.design.oracles`; configs of earlier runs use it."""

from discrete_lightning._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
