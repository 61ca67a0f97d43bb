"""Context managers that fix which architecture runs inside a `with` block, and the expected loss over architectures."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.draw import Draw, read_indices


def architecture_choices(module: nn.Module) -> list[ArchitectureChoice]:
    """All `ArchitectureChoice`s in a module; one that is shared appears once.

    Raises:
        ValueError: if there is none.
    """
    found = [each for each in module.modules() if isinstance(each, ArchitectureChoice)]
    if not found:
        raise ValueError(
            f"{type(module).__name__} holds no ArchitectureChoice: add a OneOf([...]) where it is to choose"
        )
    return found


@contextmanager
def _use_draws(draws: dict[ArchitectureChoice, Draw]) -> Iterator[None]:
    before = {choice: choice._held for choice in draws}
    try:
        for choice, draw in draws.items():
            choice._held = draw
        yield
    finally:
        for choice, draw_before in before.items():
            choice._held = draw_before


@contextmanager
def one_draw(module: nn.Module, gradient: bool = True) -> Iterator[None]:
    """Draws one sample of every choice in `module` and uses it for the whole `with` block (GDAS: one for all cells).

    Which options run is read from the device once, for all choices together.

    Args:
        module: holds choices.
        gradient: whether the samples carry a gradient to the logits. If not, only the weights learn.

    Example:
        >>> choice = ArchitectureChoice(["a", "b"])
        >>> with one_draw(choice):
        ...     bool((choice() == choice()).all())
        True
    """
    draws = {choice: choice.draw(gradient) for choice in architecture_choices(module)}
    _read_one_hot(draws)
    with _use_draws(draws):
        yield


def _read_one_hot(*draws: dict[ArchitectureChoice, Draw]) -> None:
    """Reads all indices at once; mixtures run all options, and need none."""
    if one_hot := [draw for each in draws for choice, draw in each.items() if not choice.mixes]:
        read_indices(one_hot)


@contextmanager
def hold_architecture(module: nn.Module, indices: Sequence[Sequence[int]]) -> Iterator[None]:
    """Uses the given architecture for the whole `with` block.

    Args:
        module: holds choices.
        indices: for each `ArchitectureChoice`, in the order of `architecture_choices`, the index of each row's option.

    Example:
        >>> choice = ArchitectureChoice(["a", "b"], count=2)
        >>> with hold_architecture(choice, [[1, 0]]):
        ...     choice().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    found = architecture_choices(module)
    with _use_draws({each: each._as_draw(chosen) for each, chosen in zip(found, indices, strict=True)}):
        yield


def expected_loss(module: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    """Estimates E[loss()] over the architectures of `module`; its backward pass gives the estimator's gradient of the logits.

    Works with every estimator: those that need the loss's value call `loss` once for each sample. In eval() it is the loss of
    the decided architecture, and nothing is drawn.

    Args:
        module: holds choices, all with the same estimator and temperature.
        loss: a function without arguments: runs the network and returns a scalar.

    Returns:
        A scalar; its gradient reaches the weights, too.

    Raises:
        ValueError: if there is no choice in `module`, or two have different estimators or temperatures.

    Example:
        >>> from discrete_lightning.estimators import LeaveOneOut
        >>> choice = ArchitectureChoice(["a", "b"], estimator=LeaveOneOut(samples=500))
        >>> expected_loss(choice, lambda: choice()[0, 1] ** 2).backward()
        >>> bool((choice.logits.grad - torch.tensor([[-0.25, 0.25]])).abs().max() < 0.03)
        True
    """
    found = architecture_choices(module)
    estimators = {choice.sampler.estimator for choice in found}
    if len(estimators) > 1:
        raise ValueError(f"expected_loss needs one estimator in all choices, there are {estimators}: see use_estimator")
    if not any(choice.sampler.training for choice in found):
        return loss()
    temperatures = {choice.sampler.temperature for choice in found}
    values = sorted({float(each()) for each in temperatures}) if len(temperatures) > 1 else []
    if len(values) > 1 or (values and any(p.requires_grad for t in temperatures for p in t.parameters())):
        raise ValueError(
            f"expected_loss needs one temperature in all choices, there are {len(temperatures)} (of "
            f"{', '.join(f'{value:g}' for value in values)}): give all of them the same Temperature module"
        )
    widest = max(len(choice.options) for choice in found)
    pad = [widest - len(choice.options) for choice in found]
    logits = torch.cat(
        [nn.functional.pad(each.logits, (0, more), value=-math.inf) for each, more in zip(found, pad, strict=True)]
    )

    def of_samples(samples: Tensor) -> Tensor:
        draws = [draws_of(sample) for sample in samples.flatten(0, -3)]
        _read_one_hot(*draws)
        return torch.stack([of_draws(each) for each in draws]).view(samples.shape[:-2])

    def draws_of(sample: Tensor) -> dict[ArchitectureChoice, Draw]:
        rows = sample.split([choice.count for choice in found])
        return {choice: Draw(part[:, : len(choice.options)]) for choice, part in zip(found, rows, strict=True)}

    def of_draws(draws: dict[ArchitectureChoice, Draw]) -> Tensor:
        with _use_draws(draws):
            return loss()

    first = found[0]
    value = first.sampler.estimator.expectation(
        of_samples, logits.unsqueeze(0), first.sampler.temperature(), first.next_generator()
    )
    return value.squeeze(0)


def architecture_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of all choices in a module: logits, and temperatures that are learned."""
    return list(dict.fromkeys(parameter for each in architecture_choices(module) for parameter in each.parameters()))


def weight_parameters(module: nn.Module) -> list[nn.Parameter]:
    """All parameters of a module that are not of its choices."""
    chosen = {id(parameter) for parameter in architecture_parameters(module)}
    return [parameter for parameter in module.parameters() if id(parameter) not in chosen]
