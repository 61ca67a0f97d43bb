from discrete_lightning.data.dataset import ImageDataset as ImageDataset
from discrete_lightning.data.digits import Digits as Digits
from discrete_lightning.data.errors import DataError as DataError
from discrete_lightning.data.idx import read_idx as read_idx
from discrete_lightning.data.images import ImageDataModule as ImageDataModule
from discrete_lightning.data.mnist import MNIST as MNIST
from discrete_lightning.data.mnist import FashionMNIST as FashionMNIST
from discrete_lightning.nas.training.search_split import SearchSplit as SearchSplit
