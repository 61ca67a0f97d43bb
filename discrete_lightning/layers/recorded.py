"""The arguments of a constructor as plain data, in the form of configs, so that a checkpoint can hold them.

    GumbelQuantizer(16, 8)  <->  {"class_path": "discrete_lightning....GumbelQuantizer", "init_args": {"num_codes": 16, ...}}

A checkpoint with objects in it would run code when it is read. From plain data only classes of this package are made that
are `Recorded` or dataclasses.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch

_PLAIN = (bool, int, float, str, torch.dtype, torch.device)
_PACKAGE = __name__.partition(".")[0]


class Recorded:
    """A class whose objects remember the arguments of their constructor: `recorded` gives them, `made` makes the object again.

    The first base class of what a model takes as an argument; frozen dataclasses need no base class.
    """

    _recorded: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "_recorded", _call(cls, args, kwargs))  # before __init__ of nn.Module
        return self


class NotRecordedError(ValueError):
    """What was recorded does not suffice to make the object again."""


def recorded(value: Any) -> Any:
    """`value` as plain data. An object that cannot be made from plain data is {"class_path": its class, "init_args": None}.

    Example:
        >>> from discrete_lightning.layers.temperature import Temperature
        >>> recorded([Temperature(0.5), 2])[0]["init_args"]
        {'init': 0.5, 'minimum': 0.001, 'learnable': False}
    """
    if isinstance(value, Recorded):
        return value._recorded
    if value is None or type(value) in _PLAIN or isinstance(value, torch.device):
        return value
    if isinstance(value, Path):
        return str(value)
    if type(value) in (list, tuple):
        return type(value)(recorded(each) for each in value)
    if type(value) is dict:
        return {recorded(key): recorded(each) for key, each in value.items()}
    arguments = None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [each.name for each in dataclasses.fields(value) if each.init]
        arguments = {name: recorded(getattr(value, name)) for name in fields}
    return {"class_path": _path(value if inspect.isroutine(value) else type(value)), "init_args": arguments}


def made(data: Any, known: dict[int, Any] | None = None) -> Any:
    """The value that `recorded` describes. Objects that were one object become one again.

    Args:
        data: what `recorded` returned.
        known: objects made so far, by the identity of their data.

    Raises:
        NotRecordedError: a class is not of this package, or its arguments are not recorded.

    Example:
        >>> from discrete_lightning.estimators import GumbelRao
        >>> made(recorded(GumbelRao(samples=7)))
        GumbelRao(samples=7)
    """
    known = {} if known is None else known
    if isinstance(data, list | tuple):
        return type(data)(made(each, known) for each in data)
    if not isinstance(data, Mapping):
        return data
    if set(data) != {"class_path", "init_args"}:
        return {key: made(each, known) for key, each in data.items()}
    if id(data) not in known:
        path, arguments = data["class_path"], data["init_args"]
        cls = _class(path)
        if cls is None or arguments is None:
            raise NotRecordedError(f"a {path}, which cannot be made from what was saved")
        known[id(data)] = cls(**{name: made(each, known) for name, each in arguments.items()})
    return known[id(data)]


def parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """Those of a class's constructor; `inspect.signature(cls)` may be of `Recorded.__new__`."""
    found = list(inspect.signature(cls.__init__).parameters.items())  # type: ignore[misc]
    return dict(found[1:])


def _call(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        arguments = {name: recorded(value) for name, value in _by_name(cls, args, kwargs).items()}
    except TypeError:  # the constructor says what is wrong; a copy gets its record with its attributes
        return {"class_path": _path(cls), "init_args": None}
    return {"class_path": _path(cls), "init_args": arguments}


def _by_name(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, defaults included. Those of a subclass's `*args` have the names of the base class.

    Raises:
        TypeError: the constructor does not take them, or they have no names.
    """
    bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, each in parameters(cls).items():
        value = bound.arguments[name]
        if each.kind is each.VAR_KEYWORD:
            found |= value
        elif each.kind is not each.VAR_POSITIONAL:
            found[name] = value
        elif value:
            with_constructor = [base for base in cls.__mro__ if "__init__" in vars(base)]
            found |= _by_name_of(with_constructor[1], value)
    return found


def _by_name_of(cls: type, args: tuple[Any, ...]) -> dict[str, Any]:
    names = [name for name, each in parameters(cls).items() if each.kind is each.POSITIONAL_OR_KEYWORD]
    if len(args) > len(names):
        raise TypeError(f"{cls.__name__} has no names for {len(args)} arguments")
    return dict(zip(names, args, strict=False))


def _path(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _class(path: str) -> type | None:
    """The class of this package at `path`, if it is one that may be made from plain data."""
    module, _, name = str(path).rpartition(".")
    parts = module.split(".")
    if parts[0] != _PACKAGE or any(part.startswith("_") for part in parts):
        return None
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    allowed = isinstance(found, type) and (issubclass(found, Recorded) or dataclasses.is_dataclass(found))
    return found if allowed else None
