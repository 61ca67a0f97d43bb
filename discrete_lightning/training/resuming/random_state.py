"""The states of random generators, as plain values that a checkpoint read without running code can hold.

A Mersenne Twister has 624 words of 32 bits, 2.5 KB; torch writes each as 64 bits. What was only seeded is kept as its seed.
"""

import os
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

Plain = Any  # numbers, strings, None, tensors, and lists, tuples and dicts of them
Holder = torch.Generator | np.random.Generator | np.random.RandomState | random.Random
HOLDERS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_SEED = "PL_GLOBAL_SEED"  # where Lightning's seed_everything leaves the seed


def random_state(device: torch.device) -> Plain:
    """The states of the default generators: of torch on the CPU and on `device`, of numpy and of Python."""
    state = {"torch": _packed(torch.get_rng_state()), "numpy": _numpy_state(), "python": _python_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Plain, device: torch.device) -> None:
    """Restores `random_state`. What another device left is not there for this one, which then keeps its own state."""
    torch.set_rng_state(_unpacked(state["torch"]))
    _set_numpy_state(state["numpy"])
    _set_python_state(state["python"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def unchanged_left_out(earlier: Plain, now: Plain) -> Plain:
    """An earlier `random_state` without the parts that have not changed since."""
    return {name: each for name, each in earlier.items() if name not in now or not same(each, now[name])}


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(each, other[key]) for key, each in one.items())
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )
    return bool(np.all(one == other))


def holder_state(holder: Holder) -> Plain:
    """The state of a generator object."""
    if isinstance(holder, torch.Generator):
        return _packed(holder.get_state()) if holder.device.type == "cpu" else holder.get_state()
    if isinstance(holder, np.random.Generator):
        return _plain(holder.bit_generator.state)
    if isinstance(holder, np.random.RandomState):
        return _plain(holder.get_state())
    return _plain(holder.getstate())


def set_holder_state(holder: Holder, state: Plain) -> None:
    """Restores `holder_state`."""
    if isinstance(holder, torch.Generator):
        holder.set_state(_unpacked(state) if isinstance(state, tuple) else state)
    elif isinstance(holder, np.random.Generator):
        holder.bit_generator.state = _from_plain(state)
    elif isinstance(holder, np.random.RandomState):
        holder.set_state(_from_plain(state))
    else:
        holder.setstate(_from_plain(state))


def _packed(state: Tensor) -> Plain:
    """A state of torch: the low halves of its 64-bit words, and the few high ones that are not 0."""
    words = state.numpy().view(np.uint64)
    high = (words >> np.uint64(32)).astype(np.uint32)
    places = np.flatnonzero(high)
    low = (words & np.uint64(2**32 - 1)).astype(np.uint32)
    return _bytes(low), [(int(place), int(high[place])) for place in places]


def _unpacked(state: Plain) -> Tensor:
    low, high = state
    words = low.numpy().view(np.uint32).astype(np.uint64)
    for place, value in high:
        words[place] |= np.uint64(value) << np.uint64(32)
    return torch.from_numpy(words.view(np.uint8).copy())


def _python_state() -> Plain:
    seed = os.environ.get(_SEED, "")
    state = random.getstate()
    if seed.isdigit() and random.Random(int(seed)).getstate() == state:
        return int(seed)
    return _plain(state)


def _set_python_state(state: Plain) -> None:
    if isinstance(state, int):
        random.seed(state)
    else:
        random.setstate(_from_plain(state))


def _numpy_state() -> Plain:
    seed, state = os.environ.get(_SEED, ""), np.random.get_state(legacy=True)
    if seed.isdigit() and same(np.random.RandomState(int(seed)).get_state(), state):
        return int(seed)
    return _plain(state)


def _set_numpy_state(state: Plain) -> None:
    if isinstance(state, int):
        np.random.seed(state)
    else:
        np.random.set_state(_from_plain(state))


def _bytes(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array).view(np.uint8).copy())


def _plain(value: Any) -> Plain:
    """Arrays, and tuples of 32-bit words, as tensors of bytes with their type."""
    if isinstance(value, np.ndarray):
        return {"array": str(value.dtype), "bytes": _bytes(value)}
    if isinstance(value, dict):
        return {"dict": [(key, _plain(each)) for key, each in value.items()]}
    if isinstance(value, tuple) and len(value) > 100:  # the words of Python's generator
        return {"words": _bytes(np.array(value, dtype=np.uint32))}
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


def _from_plain(value: Plain) -> Any:
    if isinstance(value, dict) and "array" in value:
        return value["bytes"].numpy().view(value["array"]).copy()
    if isinstance(value, dict) and "words" in value:
        return tuple(value["words"].numpy().view(np.uint32).tolist())
    if isinstance(value, dict):
        return {key: _from_plain(each) for key, each in value["dict"]}
    return tuple(_from_plain(each) for each in value) if isinstance(value, tuple) else value
