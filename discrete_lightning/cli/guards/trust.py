"""What configs may name, since naming a class runs code. jsonargparse imports nothing that these rules refuse.

Two rules. By place: what lies in the modules of `BUILT_IN`, before anything is imported. By kind, of what lies there: classes
that a run is made of (modules, callbacks, loggers, optimisers, ...), and functions of tensors; no other function, since torch
and Lightning have many that run a command, read a pickle or write a file. A user adds to both with `--trust`.
"""

import inspect
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.messages.places import place_of

_LIGHTNING = ("callbacks", "loggers", "profilers", "strategies", "plugins", "accelerators", "tuner")
_FUNCTIONS = ("torch.nn.functional", "torch._C._nn", "torch.nn.init", "discrete_lightning.functional")
BUILT_IN = (
    "discrete_lightning",
    *(
        f"{name}.{part}"
        for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric")
        for part in _LIGHTNING
    ),
    "lightning_fabric",  # what some of those are defined in
    "torch.nn",
    "torch.optim",
    "torch._C._nn",
    "torch.dtype",
    *(f"torch.{name}" for name in ("float16", "bfloat16", "float32", "float64", "int64", "int32", "bool")),
    "torchmetrics",
)
_SHOWN = ("discrete_lightning", "lightning.pytorch", "torch.nn", "torch.optim", "torchmetrics")
# Inside the trusted modules, but made to run or fetch arbitrary code. The first has four import paths.
_LAMBDA = (
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.callbacks.lambda_function",
    "pytorch_lightning.callbacks.LambdaCallback",
    "pytorch_lightning.callbacks.lambda_function",
)
_CODE_RUNNERS = (*_LAMBDA, "discrete_lightning.cli", "discrete_lightning._plugin")
DENIED = ["*", *_CODE_RUNNERS]  # for jsonargparse; the most specific entry of this and of `allowed` decides


def allowed(trust: Sequence[str]) -> list[str]:
    """Import paths that jsonargparse accepts.

    Raises:
        CliError: a prefix in `trust` is not a dotted module name.
    """
    for prefix in trust:
        if not all(part.isidentifier() for part in prefix.split(".")) or _covered(prefix, ["jsonargparse"]):
            raise CliError(f"--trust {prefix!r} is not the dotted name of a module that could be trusted", MISUSE)
    # Trusting a module trusts what is refused by default below it: `--trust lightning` is enough for LambdaCallback.
    runners = [path for path in _CODE_RUNNERS if _covered(path, trust)]
    return [*BUILT_IN, *trust, *runners, *(_LAMBDA if any(path in _LAMBDA for path in runners) else ())]


def is_harmless(found: Any, trust: Sequence[str]) -> bool:
    """Whether what a config names may be called, judged by its kind.

    Args:
        found: what lies at the import path.
        trust: what the user trusts.
    """
    path = f"{getattr(found, '__module__', None) or type(found).__module__}.{getattr(found, '__qualname__', '')}"
    if _covered(path, trust):
        return True
    if inspect.isclass(found):
        return _is_part_of_a_run(found)
    if inspect.isroutine(found):
        return _covered(path, _FUNCTIONS)
    import torch

    return isinstance(found, torch.dtype)


def _is_part_of_a_run(found: type) -> bool:
    import torch
    from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment, Precision
    from lightning.pytorch import Callback, LightningDataModule, LightningModule
    from lightning.pytorch.accelerators import Accelerator
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.plugins import LayerSync
    from lightning.pytorch.profilers import Profiler
    from lightning.pytorch.strategies import Strategy
    from torchmetrics import Metric

    if issubclass(found, torch.jit.ScriptModule):
        return False  # holds code
    if found.__module__.startswith("discrete_lightning."):
        return True  # the parser compares it with the type of the argument
    bases = (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, torch.dtype, Metric)
    parts = (Callback, Logger, Profiler, Strategy, Accelerator, LightningModule, LightningDataModule)
    plugins = (CheckpointIO, ClusterEnvironment, Precision, LayerSync)
    return issubclass(found, (*bases, *parts, *plugins))


def check_import(path: str, argument: str, trust: Sequence[str], request: Namespace) -> None:
    """Raises CliError unless the module of `path`, "module:name", is trusted.

    What comes with the package is not: an argument that names any function would call it.

    Args:
        path: as given.
        argument: that names it.
        trust: what the user trusts.
        request: see `entry.read_command`.
    """
    if not _covered(path.partition(":")[0], trust):
        place = place_of(argument, request).strip(" ()")
        reason = "naming a class in a config runs its module's code"
        raise CliError(
            f"{path!r} ({place or 'a default'}) is not trusted, because {reason}: if you know this one, add --trust "
            f"{path.partition(':')[0].partition('.')[0]}",
            MISUSE,
        )


def not_trusted(value: str, where: str) -> CliError:
    """The error for an import path that is not trusted."""
    reason, trust = "naming a class in a config runs its module's code", value.partition(".")[0]
    if _covered(value, (*BUILT_IN, *_CODE_RUNNERS, "torch", "lightning", "pytorch_lightning")):
        reason, trust = "it is no part of a run, and may run any code or touch any file", value
    return CliError(
        f"{value!r} ({where}) is not trusted, because {reason}: configs may name classes of {', '.join(_SHOWN)}; "
        f"if you know this one, add --trust {trust}",
        MISUSE,
    )


def _covered(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)
