"""Data as LightningDataModules: digits that need no download, MNIST and Fashion-MNIST, and the data modules of the families."""

from discrete_lightning._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
