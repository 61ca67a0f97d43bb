"""The classes that configs may name, since naming one runs code. jsonargparse imports nothing that these rules refuse."""

from argparse import Namespace
from collections.abc import Iterable, Sequence

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.messages.places import place_of

BUILT_IN = ("discrete_lightning", "lightning", "pytorch_lightning", "torch", "torchmetrics")
# Inside the trusted modules, but made to run or fetch arbitrary code. The first has four import paths.
_LAMBDA = (
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.callbacks.lambda_function",
    "pytorch_lightning.callbacks.LambdaCallback",
    "pytorch_lightning.callbacks.lambda_function",
)
_CODE_RUNNERS = (*_LAMBDA, "torch.hub", "torch.utils.cpp_extension")
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
    if _covered(value, _CODE_RUNNERS):
        reason, trust = "it can run any function", value
    return CliError(
        f"{value!r} ({where}) is not trusted, because {reason}: configs may name what is in {', '.join(BUILT_IN)}; "
        f"if you know this one, add --trust {trust}",
        MISUSE,
    )


def _covered(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)
