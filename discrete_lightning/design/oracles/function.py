"""Any callable as an oracle: a function of one-hot sequences, a method of a model, an object with `__call__`."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from discrete_lightning.layers.recorded import Recorded


class FunctionOracle(Recorded, nn.Module):
    """Calls a function of one-hot sequences (batch, letters, length). Searches and oracles wrap functions that they are given.

    The modules that the function uses by itself (the model of a bound method, those in a closure, among the globals that it
    names, in a partial or among the attributes of an object) become submodules: they are moved to the device of the search and
    are in eval() while it calls them.

    Args:
        function: returns scores (batch,) or (batch, 1).

    Example:
        >>> import torch
        >>> FunctionOracle(lambda x: x[:, 2].mean(-1))(torch.ones(2, 4, 5))
        tensor([1., 1.])
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.models = nn.ModuleList({id(model): model for model in _modules_of(function)}.values())

    def forward(self, x: Tensor, *args: Tensor) -> Any:
        """What the function returns of sequences (batch, letters, length), and of what else it takes."""
        return self.function(x, *args)


Oracle = nn.Module | Callable[[Tensor], Any]


def as_module(oracle: Oracle) -> nn.Module:
    """The oracle itself if it is a module, else a module that calls it.

    Raises:
        TypeError: it is a class, cannot be called, or is a model of NucleoBench.
    """
    if hasattr(oracle, "inference_on_tensor"):
        raise TypeError(
            f"{getattr(oracle, '__name__', type(oracle).__name__)} has inference_on_tensor, as models of NucleoBench that are "
            "minimised: take oracles.NucleoBenchOracle(model)"
        )
    if isinstance(oracle, nn.Module):
        return oracle
    if isinstance(oracle, type):
        raise TypeError(
            f"an oracle is a module or a function, got the class {oracle.__name__}: make an object of it, with ()"
        )
    if not callable(oracle):
        raise TypeError(
            f"an oracle is a module or a function of one-hot sequences (batch, letters, length), got {type(oracle).__name__}"
        )
    return FunctionOracle(oracle)


def name_of(oracle: nn.Module) -> str:
    """What an oracle is called in errors and reports: the name of its class or function."""
    if isinstance(oracle, FunctionOracle):
        return getattr(oracle.function, "__name__", type(oracle.function).__name__)
    return type(oracle).__name__


def _modules_of(function: Any) -> Iterator[nn.Module]:
    """The modules that a function uses by itself, as far as Python shows them."""
    if isinstance(function, functools.partial):
        yield from _modules_of(function.func)
        used = [*function.args, *function.keywords.values()]
    elif inspect.isfunction(function):
        variables = inspect.getclosurevars(function)
        used = [*variables.nonlocals.values(), *variables.globals.values()]
    else:
        owner = function.__self__ if inspect.ismethod(function) else function
        used = [owner] if isinstance(owner, nn.Module) else list(getattr(owner, "__dict__", {}).values())
    yield from (each for each in used if isinstance(each, nn.Module))
