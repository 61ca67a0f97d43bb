"""Keeps Lightning's notes off the console: hardware, seeds, tips, which checkpoint was loaded. Its warnings are shown."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_NOTES = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.fabric.utilities.distributed",
    "lightning.fabric.utilities.registry",
    "lightning.pytorch.accelerators.cuda",
)
_WARNINGS = (
    r".*does not have many workers",
    r"No seed found, seed set to",  # config.yaml says which
    r"Experiment logs directory .* exists and is not empty",  # the folder is new, so its files are of this run
    r"Checkpoint directory .* exists and is not empty",  # of an earlier attempt of the same run
    r"The dirpath has changed from",  # a resumed run has a new folder
    r"Be aware that when using `ckpt_path`, callbacks used to create",  # test, predict and verbs leave out those of the fit
    r"Found .* module\(s\) in eval mode",  # frozen parts of a model: a judge, the model that it started from
    # several ranks: a copy of a small gradient, and examples counted twice, which `run_report.print_repeated` says if it is so
    r"Grad strides do not match bucket view strides",
    r"Using `DistributedSampler` with the dataloaders",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, Lightning's notes (log level INFO) and the warnings listed in this file are not shown."""
    loggers = [logging.getLogger(name) for name in _NOTES]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            for message in _WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
