"""Real data as LightningDataModules: digits that need no download, MNIST and Fashion-MNIST."""

from discrete_lightning.data.dataset import ImageDataset
from discrete_lightning.data.digits import Digits
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.idx import read_idx
from discrete_lightning.data.images import ImageDataModule
from discrete_lightning.data.mnist import MNIST, FashionMNIST
from discrete_lightning.data.search_split import SearchSplit

__all__ = ["MNIST", "DataError", "Digits", "FashionMNIST", "ImageDataModule", "ImageDataset", "SearchSplit", "read_idx"]
