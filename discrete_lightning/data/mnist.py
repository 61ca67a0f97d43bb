"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017, https://arxiv.org/abs/1708.07747)."""

from typing import ClassVar

from torch import Tensor

from discrete_lightning.data.binarize import Binarize
from discrete_lightning.data.download import download
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.files import Source, find, not_found
from discrete_lightning.data.idx import read_idx
from discrete_lightning.data.images import ImageDataModule
from discrete_lightning.data.splits import Split

TRAIN_SIZE = 60_000


class MNIST(ImageDataModule):
    """The 70,000 digits: 60,000 to train and validate, 10,000 to test.

    Files are looked for under `folder`, then the environment variable `DISCRETE_LIGHTNING_DATA`, then
    `~/.cache/discrete_lightning`; in each in `mnist/`, in torchvision's `MNIST/raw/` and in itself; gzipped or not.
    What is missing is downloaded (12 MB) to `mnist/` under the first of these. See `ImageDataModule` for the batches.

    Args:
        batch_size: images a batch and device, 1 or more.
        binarize: `none`, `fixed` or `dynamic`, see `ImageDataModule`.
        folder: where to look first, and where to download to.
        validation: how many of the 60,000, the last ones, are kept from training to validate on: 0 to 59,999. The
            literature takes 5,000 or 10,000.
        download: fetch files that are not found.
        verify: compare each file's checksum with the published data's.
        num_workers: processes that prepare batches.
        seed: of the binarisation, 0 or more.

    Raises:
        ValueError: an argument is out of its range.
        DataError: (in `prepare_data` or `setup`) a file is missing and cannot be downloaded, or is damaged.

    Example:
        >>> data = MNIST(batch_size=64, binarize="dynamic", validation=10_000)
        >>> data.image_shape, data.class_names[:3]
        ((1, 28, 28), ('0', '1', '2'))
    """

    source: ClassVar[Source] = Source(
        name="MNIST",
        folders=("mnist", "MNIST/raw"),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        md5={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    )

    def __init__(
        self,
        batch_size: int = 128,
        binarize: Binarize = "none",
        *,
        folder: str | None = None,
        validation: int = 5_000,
        download: bool = True,
        verify: bool = True,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, binarize, num_workers=num_workers, seed=seed)
        if not 0 <= validation < TRAIN_SIZE:
            raise ValueError(
                f"validation={validation}: expected 0 to {TRAIN_SIZE - 1:,}, since the images are taken from the "
                f"{TRAIN_SIZE:,} of the training set."
            )
        self.folder = folder
        self.validation = validation
        self.download = download
        self.verify = verify

    def prepare_data(self) -> None:
        """Find each file or download it; Lightning calls this in one process of each machine."""
        for file in self.source.md5:
            if find(self.source, file, self.folder) is None:
                if not self.download:
                    raise not_found(self.source, file, self.folder)
                download(self.source, file, self.folder)

    def load(self) -> dict[Split, tuple[Tensor, Tensor]]:
        """Read the four files; the last `validation` images of the training set become the validation split."""
        pixels, labels = self._read("train-images-idx3-ubyte"), self._read("train-labels-idx1-ubyte")
        test = self._read("t10k-images-idx3-ubyte"), self._read("t10k-labels-idx1-ubyte")
        kept = len(labels) - self.validation
        if kept < 1 or len(pixels) != len(labels):
            raise DataError(
                f"{self.source.name}: expected as many images as labels, and more than validation={self.validation:,}, "
                f"found {len(pixels):,} images and {len(labels):,} labels in the training files."
            )
        return {"train": (pixels[:kept], labels[:kept]), "validation": (pixels[kept:], labels[kept:]), "test": test}

    def _read(self, file: str) -> Tensor:
        path = find(self.source, file, self.folder)
        if path is None:
            raise not_found(self.source, file, self.folder)
        return read_idx(path, self.source.md5[file] if self.verify else None)


class FashionMNIST(MNIST):
    """70,000 pictures of clothes with MNIST's shapes, split and arguments; a harder replacement.

    Looked for in `fashion-mnist/`, in torchvision's `FashionMNIST/raw/` and in the folder itself; a download is 31 MB.
    """

    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    source: ClassVar[Source] = Source(
        name="Fashion-MNIST",
        folders=("fashion-mnist", "FashionMNIST/raw"),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # its certificate is not for this name
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        md5={
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
    )
