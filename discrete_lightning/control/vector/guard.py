"""One gymnasium environment, called with a check of all it returns: a broken promise is found where it is broken."""

import traceback
from pathlib import Path
from typing import Any

import numpy as np

FAULT = "environment_fault"  # in the infos of worker processes
_RESET = "expected the pair (observation, info)"
_STEP = "expected (observation, reward, terminated, truncated, info)"


class Broken(Exception):
    """A promise that an environment has broken.

    Args:
        what: it concerns: "reward", "step()".
        detail: what was found and what was expected.
    """

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(what, detail)
        self.what, self.detail = what, " ".join(detail.split())


def checked_reset(environment: Any, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
    """Observation and info of a new episode.

    Raises:
        Broken: an exception, or something else was returned.
    """
    try:
        result = environment.reset(seed=seed)
    except Exception as error:
        raise exception_of("reset()", error) from error
    if type(result) is not tuple or len(result) != 2 or not isinstance(result[1], dict):
        raise Broken("reset()", f"it returned {_shown(result)}, {_RESET}")
    return result


def checked_step(environment: Any, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """Observation, reward, terminated, truncated and info of a step.

    Raises:
        Broken: an exception, or something else was returned; the reward is no number or not finite.
    """
    try:
        result = environment.step(action)
    except Exception as error:
        raise exception_of("step()", error) from error
    if type(result) is not tuple or len(result) != 5:
        old = " (4 values are the API of the old gym: use gymnasium's)" if _is_old(result) else ""
        raise Broken("step()", f"it returned {_shown(result)}, {_STEP}{old}")
    observation, reward, terminated, truncated, info = result
    if not (_is_bool(terminated) and _is_bool(truncated) and isinstance(info, dict)):
        kinds = ", ".join(type(each).__name__ for each in result)
        raise Broken("step()", f"it returned values of the types {kinds}, {_STEP}")
    return observation, number(reward), bool(terminated), bool(truncated), info


def number(reward: Any) -> float:
    """A reward as a finite float.

    Raises:
        Broken: it is none.
    """
    try:
        value = float(reward)
    except (TypeError, ValueError):
        raise Broken("reward", f"{_shown(reward)}, expected a number") from None
    if value - value != 0:  # NaN or infinite
        raise Broken("reward", f"{value}, expected a finite number")
    return value


def exception_of(call: str, error: Exception) -> Broken:
    """What there is to say of an exception: its type, its text, and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Broken(call, f"{text} ({Path(last.filename).name}, line {last.lineno})")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) or (
        isinstance(value, np.ndarray) and value.dtype == bool and value.ndim == 0
    )


def _is_old(result: Any) -> bool:
    return type(result) is tuple and len(result) == 4


def _shown(value: Any) -> str:
    if type(value) is tuple:
        return f"a tuple of {len(value)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"a {type(value).__name__}"
