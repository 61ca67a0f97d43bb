"""gymnasium environments by their id, or by the path of a class or function. Without torch: worker processes import this."""

import importlib
import inspect
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

EXTRA = "pip install 'discrete_lightning[control]'"
_GROUPS = ("box2d", "mujoco", "classic_control", "toy_text")


@dataclass(frozen=True)
class GymnasiumMaker:
    """Makes one environment, each time it is called.

    Pictures are made when they are asked for, never in a window.

    Args:
        environment: an id of gymnasium ("CartPole-v1", "module:Id-v0"), or the path of a class or function ("module:name").
        arguments: of the constructor.
        time_limit: the most steps of an episode, in place of the environment's own.

    Example:
        >>> GymnasiumMaker("CartPole-v1", time_limit=20)().spec.max_episode_steps
        20
    """

    environment: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    time_limit: int | None = None

    def __call__(self) -> Any:
        """The environment.

        Raises:
            ValueError: there is none of this name, or it cannot be made; the message says why.
        """
        gymnasium = import_gymnasium()
        made = load(self.environment)
        if made is None:
            spec = find_spec(self.environment)
            try:
                creator = spec.entry_point
                if isinstance(creator, str):
                    with (
                        warnings.catch_warnings()
                    ):  # SWIG's modules warn; as an error that ends the process (Box2D 2.3.10)
                        warnings.simplefilter("ignore", DeprecationWarning)
                        creator = gymnasium.envs.registration.load_env_creator(creator)
                arguments = {**_render_mode(creator, spec), **self.arguments}
                limit = {} if self.time_limit is None else {"max_episode_steps": self.time_limit}
                environment = gymnasium.make(spec, disable_env_checker=True, **limit, **arguments)
            except Exception as error:
                raise ValueError(not_made(self.environment, error, str(spec.entry_point))) from error
        else:
            try:
                environment = made(**{**_render_mode(made), **self.arguments})
            except Exception as error:
                raise ValueError(not_made(self.environment, error)) from error
            if not isinstance(environment, gymnasium.Env):
                raise ValueError(
                    f"{self.environment} gave a {type(environment).__name__}, which is no gymnasium.Env"
                    + (": it is of the old gym" if type(environment).__module__.startswith("gym.") else "")
                )
            if self.time_limit is not None:
                environment = gymnasium.wrappers.TimeLimit(environment, self.time_limit)
        if environment.render_mode == "human":
            raise ValueError(f"{self.environment}: render_mode 'human' opens a window: use 'rgb_array'")
        return environment


def import_gymnasium() -> Any:
    """The package, with what is used of it.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import gymnasium
        import gymnasium.envs.registration
        import gymnasium.vector
        import gymnasium.wrappers
    except ImportError as error:
        raise ValueError(f"gymnasium is not installed ({error}): {EXTRA}") from error
    return gymnasium


def module_of(environment: str) -> str | None:
    """The module that has to be imported for an environment; None for an id without one."""
    return environment.partition(":")[0] if ":" in environment else None


def load(environment: str) -> Any:
    """The class or function at `module:name`; None where `environment` is an id, of gymnasium or registered by the module.

    Raises:
        ValueError: there is no such module, or nothing of this name.
    """
    module, colon, name = environment.partition(":")
    if not colon:
        return None
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{environment}: there is no module {error.name!r}") from None
    except Exception as error:
        raise ValueError(
            f"{environment}: the module {module} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if callable(found := getattr(imported, name, None)):
        return found
    loaded = sys.modules.get("gymnasium.envs.registration")
    registry = getattr(loaded, "registry", {})
    if name in registry:
        return None
    hint = did_you_mean(name, [*(each for each in dir(imported) if each[0] != "_"), *registry])
    raise ValueError(f"{environment}: {module} has no class or function {name!r}, and registers no such id{hint}")


def find_spec(environment: str) -> Any:
    """The entry in gymnasium's registry of an id, or of "module:Id", whose module is imported.

    Raises:
        ValueError: there is none.
    """
    gymnasium = import_gymnasium()
    name = environment.rpartition(":")[2]
    registry = gymnasium.envs.registration.registry
    try:
        return gymnasium.spec(name)  # the latest version of an id without one
    except Exception:
        raise ValueError(f"{environment!r} is no environment of gymnasium{did_you_mean(name, registry)}") from None


def did_you_mean(name: str, known: Any) -> str:
    """`; did you mean a or b?` for names close to `name`, whatever their case; or an empty string."""
    by_lower = {each.lower(): each for each in known}
    close = [by_lower[each] for each in get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.6)]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _render_mode(creator: Any, spec: Any = None) -> dict[str, str]:
    """The way in which an environment draws itself without a window, as an argument of its constructor, if it has one."""
    metadata = getattr(creator, "metadata", None)
    modes = metadata.get("render_modes", ()) if isinstance(metadata, Mapping) else ()
    if spec is None:
        named = inspect.signature(creator).parameters.values()
        if not any(each.name == "render_mode" or each.kind is each.VAR_KEYWORD for each in named):
            return {}
    is_text = "toy_text" in str(getattr(creator, "__module__", ""))  # its pictures need pygame
    order = ("ansi", "rgb_array") if is_text else ("rgb_array", "ansi")
    return {"render_mode": mode} if (mode := next((each for each in order if each in modes), None)) else {}


def not_made(environment: str, error: Exception, entry: str = "", what: str = "made") -> str:
    """Why an environment cannot be made or drawn, and what to install if that is missing.

    Args:
        environment: its name.
        error: that was raised.
        entry: the path of its class.
        what: cannot be done with it.
    """
    text = " ".join(str(error).split())
    if type(error).__name__ == "DependencyNotInstalled":
        group = next((each for each in _GROUPS if each in entry.lower()), None)
        wanted = f"pip install 'gymnasium[{group.replace('_', '-')}]'" if group else text
        return f"{environment} cannot be {what}: a package is not installed: {wanted}"
    return f"{environment} cannot be {what}: {type(error).__name__}: {text}"
