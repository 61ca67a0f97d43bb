"""Labels of any kind as numbers that count from 0."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from discrete_lightning.data.errors import DataError
from discrete_lightning.data.splits import Split


def class_numbers(labels: Mapping[Split, Any], name: str) -> tuple[dict[Split, Any], tuple[str, ...]]:
    """Labels as positions in the sorted classes of the training split.

    Args:
        labels: of each split (N,) or (N, 1), integers or words, or None.
        name: of the data, in messages.

    Returns:
        int64 (N,) or None for each split, and the names of the classes. Integers that are 0 or more keep their value; the names
        are then those from 0 to the largest.

    Raises:
        DataError: labels are no integers or words, or a split has a class that is not in the training split.

    Example:
        >>> class_numbers({"train": np.array(["dog", "cat", "dog"])}, "pets")
        ({'train': array([1, 0, 1])}, ('cat', 'dog'))
    """
    flat = {split: None if each is None else np.asarray(each) for split, each in labels.items()}
    for split, each in flat.items():
        if each is not None and (each.dtype.kind not in "iuUSb" or each.size != len(each)):
            raise DataError(
                f"{name}: expected one integer or word as the label of each example, found {each.dtype} of shape "
                f"{each.shape} for {split}."
            )
    flat = {split: None if each is None else each.reshape(-1) for split, each in flat.items()}
    train = flat["train"]
    if train is None:
        return dict.fromkeys(flat, None), ()
    classes = np.unique(train)
    if classes.dtype.kind in "iub" and len(classes) and classes[0] >= 0:
        classes = np.arange(int(classes[-1]) + 1)
    numbers: dict[Split, Any] = {}
    for split, each in flat.items():
        numbers[split] = None
        if each is not None:
            unknown = sorted(set(each.tolist()) - set(classes.tolist()))
            if unknown:
                raise DataError(f"{name}: label {unknown[0]!r} of {split} does not occur in the training data.")
            numbers[split] = np.searchsorted(classes, each).astype(np.int64)
    return numbers, tuple(str(each) for each in classes.tolist())
