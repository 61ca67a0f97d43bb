"""Data as LightningDataModules: digits that need no download, MNIST and Fashion-MNIST, and what families add to them."""

from discrete_lightning._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
