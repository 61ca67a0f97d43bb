"""Keeps Lightning's small talk off the console, line by line, so that everything else is still seen."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.fabric.utilities.distributed",
    "lightning.pytorch.accelerators.cuda",
)
_TALK = (
    "GPU available:",
    "TPU available:",
    "LOCAL_RANK: 0 - CUDA_VISIBLE_DEVICES:",
    "💡 Tip:",
    "You are using a CUDA device",  # advice for code: no option of ours follows it
    "Seed set to",
    "`Trainer.fit` stopped: `max_",
    "`Trainer(limit_",
    "`Trainer(val_check_interval=1.0)`",
    "Running in `fast_dev_run` mode",
    "Restoring states from the checkpoint path",
    "Restored all states from the checkpoint",
    "Loaded model weights from the checkpoint",
    "Detected KeyboardInterrupt",
    "Using default `ModelCheckpoint`",
)
_RANK = re.compile(r"^\[rank: \d+\] ")
_WARNINGS = (
    r".*does not have many workers",
    r"No seed found, seed set to",  # config.yaml says which
    # A run's folder is new: what is in it is this run's own.
    r"Experiment logs directory .* exists and is not empty",
    # A resumed run has a folder of its own.
    r"The dirpath has changed from",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


def _is_news(record: logging.LogRecord) -> bool:
    return not _RANK.sub("", record.getMessage().strip()).startswith(_TALK)


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block, drops the log lines and warnings listed in this file and no others."""
    for name in _TALKERS:
        logging.getLogger(name).addFilter(_is_news)
    try:
        with warnings.catch_warnings():
            for message in _WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for name in _TALKERS:
            logging.getLogger(name).removeFilter(_is_news)
