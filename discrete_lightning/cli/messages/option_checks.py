"""Values of options that Lightning accepts and trips over later, refused before anything is built."""

import inspect
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.messages.places import place_of

_LARGEST_SEED = 2**32 - 1  # of numpy
_PROCESSES_A_CORE = 4

_UNLIMITED = "; -1 means without limit"
_OFF = "; 0 switches it off"
_AT_LEAST = {
    "accumulate_grad_batches": (1, ""),
    "check_val_every_n_epoch": (1, "; trainer.limit_val_batches=0 switches validation off"),
    "num_nodes": (1, ""),
    "max_epochs": (-1, _UNLIMITED),
    "min_epochs": (0, ""),
    "max_steps": (-1, _UNLIMITED),
    "min_steps": (0, ""),
    "gradient_clip_val": (0, _OFF),
    "log_every_n_steps": (0, _OFF),
    "reload_dataloaders_every_n_epochs": (0, _OFF),
    "num_sanity_val_steps": (-1, "; 0 switches it off, and -1 takes all batches"),
    "overfit_batches": (0, _OFF),
    "limit_train_batches": (0, _OFF),
    "limit_val_batches": (0, _OFF),
    "limit_test_batches": (0, _OFF),
    "limit_predict_batches": (0, _OFF),
    "val_check_interval": (0, ""),
}


def check_options(config: Any, request: Namespace) -> None:
    """Raises CliError for the first value that cannot be meant.

    Args:
        config: the parsed config of the command, as nested namespaces.
        request: see `entry.read_command`; says where a value was given.
    """
    for key, message in _faults(config):
        raise CliError(f"{key} {message}{place_of(key, request)}", MISUSE)


def _faults(config: Any) -> Iterator[tuple[str, str]]:
    seed = config.seed_everything
    if not isinstance(seed, bool) and not 0 <= seed <= _LARGEST_SEED:
        yield "seed_everything", f"must lie in 0 to {_LARGEST_SEED}, got {seed}"
    trainer = config.trainer
    for name, (least, hint) in _AT_LEAST.items():
        value = trainer[name]
        if isinstance(value, (int, float)) and not value >= least:  # NaN is refused, too
            yield f"trainer.{name}", f"must be at least {least}, got {value}{hint}"
    if trainer.val_check_interval == 0:
        yield "trainer.val_check_interval", "must be a share in (0, 1], or a number of batches from 1 on, got 0"
    for key in _nulls(config, ""):
        yield key, "must not be null: leave it out for its default, or give a value"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = list(_worker_counts(config, ""))
    if str(trainer.devices).isdecimal():
        counts.append(("trainer.devices", int(trainer.devices)))
    for key, processes in counts:
        if processes > _PROCESSES_A_CORE * cores:
            most = f"at most {_PROCESSES_A_CORE * cores} are started, {_PROCESSES_A_CORE} for each of the {cores} cores"
            yield key, f"is {processes} processes on this machine, and {most}; as many as cores is a good choice"


def _nulls(node: Any, prefix: str) -> Iterator[str]:
    """Arguments of classes that are null and cannot be: jsonargparse takes null for any type."""
    if isinstance(node, list):
        for i, value in enumerate(node):
            yield from _nulls(value, f"{prefix}{i}.")
    elif hasattr(node, "__dict__"):
        entries = vars(node)
        arguments = entries.get("init_args")
        if "class_path" in entries and hasattr(arguments, "__dict__"):
            parameters = _parameters(entries["class_path"])
            for name, value in vars(arguments).items():
                if value is None and name in parameters and not _takes_null(parameters[name]):
                    yield f"{prefix}{name}"
        for name, value in entries.items():
            yield from _nulls(value, prefix if name == "init_args" else f"{prefix}{name}.")


def _parameters(path: str) -> Mapping[str, inspect.Parameter]:
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return inspect.signature(found).parameters if inspect.isclass(found) else {}


def _takes_null(parameter: inspect.Parameter) -> bool:
    kind = str(parameter.annotation)
    untyped = parameter.annotation is inspect.Parameter.empty
    return untyped or parameter.default is None or any(word in kind for word in ("None", "Optional", "Any", "object"))


def _worker_counts(node: Any, prefix: str) -> Iterator[tuple[str, int]]:
    """Every `num_workers` of the config, whatever class it is an argument of."""
    if isinstance(node, list):
        for i, value in enumerate(node):
            yield from _worker_counts(value, f"{prefix}{i}.")
    elif hasattr(node, "__dict__"):
        for name, value in vars(node).items():
            if name == "num_workers" and isinstance(value, int):
                yield f"{prefix}{name}", value
            yield from _worker_counts(value, prefix if name == "init_args" else f"{prefix}{name}.")
