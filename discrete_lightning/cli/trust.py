"""Configs are code: which classes they may name.

A `class_path` is imported before anything can judge it, and importing runs code. So every config file and the command
line are read here as plain data first, and import paths outside the trusted modules are refused before any import.
jsonargparse is given the same rules (`denied` and `allowed`), which cover what only it can see: short names,
interpolations, and objects reached through a trusted module.
"""

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from discrete_lightning.cli.errors import MISUSE, CliError
from discrete_lightning.cli.sources import Source

BUILT_IN = ("discrete_lightning", "lightning", "pytorch_lightning", "torch", "torchmetrics")
# Inside the trusted modules, but made to run or fetch arbitrary code. The first is known by four paths.
_LAMBDA = (
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.callbacks.lambda_function",
    "pytorch_lightning.callbacks.LambdaCallback",
    "pytorch_lightning.callbacks.lambda_function",
)
_CODE_RUNNERS = (*_LAMBDA, "torch.hub", "torch.utils.cpp_extension")
_SUFFIXES = (".yaml", ".yml", ".json")
_LARGEST_PART = 1_000_000  # bytes; larger files are data


def denied() -> list[str]:
    """Import paths that jsonargparse refuses; the most specific entry of `denied` and `allowed` decides."""
    return ["*", *_CODE_RUNNERS]


def allowed(trust: Sequence[str]) -> list[str]:
    """Import paths that jsonargparse accepts.

    Raises:
        CliError: a prefix in `trust` is not a dotted module name.
    """
    for prefix in trust:
        if not _is_dotted_name(prefix, least=1) or _covered(prefix, ["jsonargparse"]):
            raise CliError(f"--trust {prefix!r} is not the dotted name of a module that could be trusted", MISUSE)
    # Trusting a module trusts what is refused by default below it: `--trust lightning` is enough for LambdaCallback.
    runners = [path for path in _CODE_RUNNERS if _covered(path, trust)]
    return [*BUILT_IN, *trust, *runners, *(_LAMBDA if any(path in _LAMBDA for path in runners) else ())]


def check_trust(sources: Sequence[Source], args: Sequence[str], trust: Sequence[str]) -> None:
    """Reads all configs and arguments as data and refuses import paths that are not trusted. Imports none of them.

    Raises:
        CliError: names the value, where it stands, and the `--trust` that would allow it; or a file is no YAML.
    """
    allowed(trust)
    scan = _Scan(trust)
    for source in sources:
        scan.config(source.path)
    option = ""
    for token in args:
        value = token
        if token.startswith("-"):
            option, equals, value = token.partition("=")
            if not equals:
                continue
        scan.text(value, f"{option} on the command line", option.endswith("class_path"))


class _Scan:
    def __init__(self, trust: Sequence[str]) -> None:
        self.trust = trust
        self.seen: set[Path] = set()

    def config(self, path: Path) -> None:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise CliError(f"{path} is not a YAML file: {error}", MISUSE) from None
        except OSError as error:
            raise CliError(f"{path} cannot be read: {error.strerror}") from None
        if not isinstance(content, dict):
            raise CliError(f"{path} is no config: it holds {type(content).__name__}, a config is a mapping", MISUSE)
        self.content(content, path)

    def content(self, content: Any, path: Path) -> None:
        for where, value, is_class in _strings(content, ""):
            self.value(value, f"{where} in {path}", is_class, path.parent)

    def named_file(self, path: Path) -> None:
        """A file that a config names may be a part of the config, or data: only the parser knows."""
        if path.resolve() in self.seen or path.stat().st_size > _LARGEST_PART:
            return
        self.seen.add(path.resolve())
        with suppress(yaml.YAMLError, UnicodeDecodeError, OSError):
            self.content(yaml.safe_load(path.read_text(encoding="utf-8")), path)

    def text(self, text: str, where: str, is_class: bool) -> None:
        self.value(text, where, is_class, Path())
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError:
            return  # plain text, neither a mapping nor a list
        if not isinstance(content, str):
            for _, value, inner_is_class in _strings(content, ""):
                self.value(value, where, inner_is_class, Path())

    def value(self, value: str, where: str, is_class: bool, folder: Path) -> None:
        if value.endswith(_SUFFIXES) and (folder / value).is_file():
            self.named_file(folder / value)
        elif value == "LambdaCallback":
            self.path(_LAMBDA[0], where)
        elif _is_dotted_name(value) and (is_class or _is_importable(value)):
            self.path(value, where)

    def path(self, value: str, where: str) -> None:
        if not _covered(value, self.trust) and (_runs_code(value) or not _covered(value, BUILT_IN)):
            raise not_trusted(value, where)


def not_trusted(value: str, where: str) -> CliError:
    """The error for an import path that is not trusted."""
    if _runs_code(value):
        reason, trust = "it can run any function", value
    else:
        reason, trust = "naming a class in a config runs its module's code", value.partition(".")[0]
    return CliError(
        f"{value!r} ({where}) is not trusted, because {reason}: configs may name what is in {', '.join(BUILT_IN)}; "
        f"if you know this one, add --trust {trust}",
        MISUSE,
    )


def _strings(value: Any, where: str, is_class: bool = False) -> Iterator[tuple[str, str, bool]]:
    """Every string inside `value`: its place, itself, and whether it stands under `class_path`."""
    if isinstance(value, str):
        yield where, value, is_class
    elif isinstance(value, dict):
        for key, inner in value.items():
            place = f"{where}.{key}" if where else str(key)
            yield from _strings(inner, place, str(key).endswith("class_path"))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, where, is_class)


def _is_dotted_name(value: str, least: int = 2) -> bool:
    parts = value.split(".")
    return len(parts) >= least and all(part.isidentifier() for part in parts)


def _is_importable(value: str) -> bool:
    try:
        return importlib.util.find_spec(value.partition(".")[0]) is not None
    except ValueError:  # a module without a spec, such as __main__
        return True


def _runs_code(path: str) -> bool:
    return _covered(path, _CODE_RUNNERS)


def _covered(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)
