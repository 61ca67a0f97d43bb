"""What each option of a choice costs: a look-up table of parameters, FLOPs or latency on the device in use.

    cost(architecture) = fixed + sum over choices of table[choice, option]

As in FBNet (Wu et al. 2018, https://arxiv.org/abs/1812.03443), each operation is measured alone, on inputs of the shape that it
gets in the network.
"""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.one_of import OneOf
from discrete_lightning.nas.shared_draw import architecture_choices, hold_architecture

Measure = Literal["parameters", "flops", "latency"]


def parameters(module: nn.Module, *inputs: Any) -> float:  # noqa: ARG001
    """Number of parameters."""
    return float(sum(each.numel() for each in module.parameters()))


def flops(module: nn.Module, *inputs: Any) -> float:
    """Floating-point operations of a forward pass: two for each multiplication and addition of convolutions and products."""
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return float(counter.get_total_flops())


def latency(module: nn.Module, *inputs: Any, rounds: int = 5, seconds: float = 0.004) -> float:
    """Milliseconds of a forward pass on the inputs' device: the smallest of `rounds` means, after a warm-up.

    The smallest, since other processes only ever add time.

    Args:
        module: call eval() on it first for the latency of a deployed network.
        inputs: its arguments.
        rounds: number of means.
        seconds: shortest duration of a round.
    """
    device = next((each.device for each in inputs if isinstance(each, Tensor)), torch.device("cpu"))

    # the time of this thread alone, which other processes do not change
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter

    def run(times: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = clock()
        for _ in range(times):
            module(*inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (clock() - start) / times

    run(2)
    once = statistics.median(run(1) for _ in range(3))
    times = max(1, min(1000, round(seconds / max(once, 1e-7))))
    return 1e3 * min(run(times) for _ in range(rounds))


_PASSES = 4
_PACKAGE = __name__.partition(".")[0] + "."
_MEASURES: dict[str, Callable[..., float]] = {"parameters": parameters, "flops": flops, "latency": latency}


@torch.no_grad()
def operation_costs(network: nn.Module, inputs: Tensor, measure: Measure) -> tuple[Tensor, float]:
    """The table of a network whose OneOfs share one ArchitectureChoice.

    Args:
        network: measured in eval().
        inputs: a batch, on the network's device. FLOPs and latency are those of this batch.
        measure: "parameters", "flops" or "latency" (milliseconds).

    Returns:
        (table, fixed): float32 (count, K), and the cost that all architectures share.

    Raises:
        ValueError: if there is not exactly one ArchitectureChoice, or two options of a OneOf give different shapes.
    """
    if measure not in _MEASURES:
        raise ValueError(f"a cost is measured in {', '.join(_MEASURES)}, got {measure!r}")
    found = architecture_choices(network)
    if len(found) > 1:
        raise ValueError(
            f"a cost needs one ArchitectureChoice for the network, there are {len(found)}: share one between the OneOfs"
        )
    choice, cost = found[0], _MEASURES[measure]
    training = network.training
    network.eval()
    try:
        table = torch.zeros(choice.count, len(choice.options), dtype=torch.float32, device="cpu")
        calls = _inputs(network, choice, inputs)
        kinds = {_kind(option, given): (option, given) for layer, given in calls for option in layer.options}
        known: dict[Any, float] = {}
        for _ in range(
            _PASSES if measure == "latency" else 1
        ):  # spread in time: a slow moment then falls on no single entry
            for kind, (option, given) in kinds.items():
                known[kind] = min(known.get(kind, math.inf), cost(option, *given))
        if measure == "parameters":  # held once, however often a layer is called
            calls = list({id(layer): (layer, given) for layer, given in calls}.values())
        for layer, given in calls:
            for index, option in enumerate(layer.options):
                table[layer.row, index] += known[_kind(option, given)]
        reference = [0] * choice.count
        with hold_architecture(network, [reference]):
            if measure == "parameters":
                options = {id(each) for layer in _layers(network) for each in layer.options.parameters()}
                own = {id(each) for each in choice.parameters()}
                rest = [each for each in network.parameters() if id(each) not in options | own]
                fixed = float(sum(each.numel() for each in rest))
            else:
                fixed = cost(network, inputs) - float(table[range(choice.count), reference].sum())
    finally:
        network.train(training)
    return table, max(0.0, fixed)


def _kind(option: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """A key that is equal for calls of equal cost: modules of torch and of this package by their repr, others by identity."""
    known = all(type(each).__module__.startswith(("torch.nn.", _PACKAGE)) for each in option.modules())
    return repr(option) if known else id(option), tuple(_shape(each) for each in inputs)


def _shape(each: Any) -> Any:
    return each.shape if isinstance(each, Tensor) else repr(each)


def _layers(network: nn.Module) -> list[OneOf]:
    return [each for each in network.modules() if isinstance(each, OneOf)]


def check_options(network: nn.Module, inputs: Tensor) -> None:
    """Runs every option once, to find before training those whose output has another shape.

    Raises:
        ValueError: naming the two options and their shapes.
    """
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for choice in architecture_choices(network):
                _inputs(network, choice, inputs)
    finally:
        network.train(training)


def _inputs(network: nn.Module, choice: ArchitectureChoice, inputs: Tensor) -> list[tuple[OneOf, tuple[Any, ...]]]:
    """Each call of a OneOf of this choice, with its arguments; runs all options on them."""
    calls: list[tuple[OneOf, tuple[Any, ...]]] = []

    def record(layer: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(layer, OneOf)
        if layer.choice is choice:
            calls.append((layer, given))
            layer.run_all(*given)

    hooks = [layer.register_forward_pre_hook(record) for layer in _layers(network)]
    try:
        network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls
