"""Random generators that objects hold: loaders, their samplers and data sets, modules, callbacks."""

from collections.abc import Iterable, Iterator
from typing import Any

from discrete_lightning.training.resuming.random_state import (
    HOLDERS,
    Holder,
    Plain,
    holder_state,
    set_holder_state,
)

_DEEP = ("sampler", "batch_sampler", "dataset", "datasets", "data")  # where loaders keep what draws for them


def generators_of(owners: Iterable[tuple[str, Any]]) -> dict[str, Holder]:
    """The generators among the attributes of objects, by a name that a resumed run gives them, too.

    Args:
        owners: names and objects.
    """
    found: dict[str, Holder] = {}
    known: set[int] = set()
    for name, owner in owners:
        for attribute, value in _attributes(owner):
            if isinstance(value, HOLDERS) and id(value) not in known:
                known.add(id(value))
                found[f"{name}.{attribute}"] = value
    return found


def parts_of_loader(name: str, loader: Any, depth: int = 4) -> Iterator[tuple[str, Any]]:
    """A loader, and the samplers and data sets in it, with names."""
    yield name, loader
    if depth == 0:
        return
    for attribute in _DEEP:
        value = vars(loader).get(attribute) if hasattr(loader, "__dict__") else None
        if value is None and attribute == "batch_sampler":
            value = getattr(loader, attribute, None)
        parts = value if isinstance(value, list | tuple) else [value]
        for number, part in enumerate(parts[:100]):
            if hasattr(part, "__dict__") and part is not loader:
                yield from parts_of_loader(f"{name}.{attribute}{number or ''}", part, depth - 1)


def holder_states(holders: dict[str, Holder]) -> dict[str, Plain]:
    """Their states."""
    return {name: holder_state(each) for name, each in holders.items()}


def set_holder_states(holders: dict[str, Holder], states: dict[str, Plain]) -> list[str]:
    """Restores `holder_states`; returns the names of states that nothing here holds."""
    for name in holders.keys() & states.keys():
        set_holder_state(holders[name], states[name])
    return sorted(states.keys() - holders.keys())


def _attributes(owner: Any) -> Iterator[tuple[str, Any]]:
    yield from vars(owner).items() if hasattr(owner, "__dict__") else ()
