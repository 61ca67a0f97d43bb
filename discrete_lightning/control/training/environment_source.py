"""From what a config says of an environment to environments that are stepped together."""

import importlib
import inspect
from typing import Any

import torch

from discrete_lightning.control.environments.base import DifferentiableEnv
from discrete_lightning.control.vector.base import VectorEnvironments
from discrete_lightning.control.vector.environment_list import EnvironmentList
from discrete_lightning.control.vector.gymnasium_maker import (
    GymnasiumMaker,
    did_you_mean,
    find_spec,
    import_gymnasium,
    load,
    module_of,
)
from discrete_lightning.data.errors import DataError
from discrete_lightning.data.user_modules import ask_to_import

IN_TORCH = ("Acrobot", "CartPole", "DeepSea", "GridWorld", "MountainCar")
_MODULE = "discrete_lightning.control.environments"


class EnvironmentSource:
    """Makes environments; the arguments are those of `Environments`.

    Args:
        environment: see `Environments`.
        time_limit: likewise.
        arguments: likewise.
        masks: likewise.
        processes: likewise.

    Raises:
        ValueError: arguments that exclude each other.
    """

    def __init__(
        self,
        environment: str | DifferentiableEnv,
        time_limit: int | None,
        arguments: dict[str, Any],
        masks: bool,
        processes: bool,
    ) -> None:
        self.environment, self.time_limit, self.arguments = environment, time_limit, arguments
        self.masks, self.processes = masks, processes
        if isinstance(environment, str):
            if module_of(environment) is not None:
                ask_to_import(environment, "environment")
        elif arguments:
            raise ValueError(
                f"arguments={arguments}: give them to {type(environment).__name__} itself, which is an object"
            )

    def make(self, count: int, first: int, total: int, device: torch.device | str) -> VectorEnvironments:
        """See `Environments.make`."""
        try:
            return self._make(count, first, total, device)
        except DataError:
            raise
        except ValueError as error:
            raise DataError(str(error)) from error

    def _make(self, count: int, first: int, total: int, device: torch.device | str) -> VectorEnvironments:
        made = self._in_torch()
        if isinstance(made, DifferentiableEnv):
            if self.processes:
                raise ValueError(f"{type(made).__name__} is an environment in torch: set processes=False")
            from discrete_lightning.control.vector.torch_environments import TorchEnvironments

            return TorchEnvironments(made, count, first, total, device, time_limit=self.time_limit)
        assert isinstance(self.environment, str)
        if made is not None and "num_envs" in inspect.signature(made).parameters:
            return self._vector(made(**self.arguments, num_envs=count), first, total, device)
        maker = GymnasiumMaker(self.environment, self.arguments, self.time_limit)
        if self.processes:
            from discrete_lightning.control.vector.gymnasium_processes import GymnasiumProcesses

            return GymnasiumProcesses(maker, count, first, total, self.masks, device)
        return EnvironmentList([maker() for _ in range(count)], first, total, masks=self.masks, device=device)

    def _in_torch(self) -> Any:
        """An environment in torch, a class or function that makes others, or None for an id of gymnasium.

        Raises:
            ValueError: there is nothing of this name.
        """
        if not isinstance(self.environment, str):
            return self.environment
        if self.environment in IN_TORCH:
            return self._called(getattr(importlib.import_module(_MODULE), self.environment))
        if module_of(self.environment) is None:
            self._check_id(self.environment)
            return None
        found = load(self.environment)
        if inspect.isclass(found) and issubclass(found, DifferentiableEnv):
            return self._called(found)
        return found

    def _called(self, cls: Any) -> Any:
        try:
            return cls(**self.arguments)
        except TypeError as error:
            raise ValueError(f"{self.environment} cannot be made: {error}") from None

    def _check_id(self, name: str) -> None:
        gymnasium = import_gymnasium()
        known = [*IN_TORCH, *gymnasium.envs.registration.registry]
        try:
            find_spec(name)
        except ValueError:
            raise ValueError(
                f"{name!r} is no environment of gymnasium, and none in torch{did_you_mean(name, known)} "
                '(a class of your own: "my_module:MyEnv")'
            ) from None

    def _vector(self, made: Any, first: int, total: int, device: torch.device | str) -> VectorEnvironments:
        from discrete_lightning.control.vector.gymnasium_vector import GymnasiumVector

        return GymnasiumVector(made, first, total, masks=self.masks, time_limit=self.time_limit, device=device)
