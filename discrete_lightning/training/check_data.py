"""A comparison of model and data before training, on one batch of each loader."""

from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities import CombinedLoader

from discrete_lightning.protocols import ChecksBatches


def check_data(module: LightningModule, data: LightningDataModule) -> None:
    """Gives the first batch of every training and validation loader of `data` to the model's `check_batch`.

    Nothing is trained. A model without `check_batch` is not compared. Call it with both as a Trainer would use them:
    `prepare_data` and `setup("fit")` are called here.

    Raises:
        ValueError: what the model raises: images of another shape, type or range, or wrong labels, in one line.
        DataError: what the data raises.

    Example:
        >>> from discrete_lightning.data import Digits
        >>> from discrete_lightning.models import VQAutoencoder
        >>> check_data(VQAutoencoder(channels=1, hidden=4), Digits())
    """
    if not isinstance(module, ChecksBatches):
        return
    data.prepare_data()
    data.setup("fit")
    for loaders in (data.train_dataloader(), _or_none(data.val_dataloader)):
        for loader in loaders if isinstance(loaders, list | tuple) else [loaders] if loaders is not None else []:
            for batch in loader:
                module.check_batch(batch[0] if _is_combined(loader) else batch)
                break


def _or_none(loader: Any) -> Any:
    try:
        return loader()
    except (MisconfigurationException, NotImplementedError):  # the module has no validation data
        return None


def _is_combined(loader: Any) -> bool:
    return isinstance(loader, CombinedLoader)  # yields (batch, its number, the number of the loader)
