"""A mixed operation, a layer chosen among several: GDAS runs the drawn one (https://arxiv.org/abs/1910.04465), DARTS mixes all
(https://arxiv.org/abs/1806.09055).

    single path:  y = s_k f_k(x) with k the drawn option, s_k = 1 forward and the sample's gradient backward
    mixed:        y = sum_k s_k f_k(x)
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.temperature import Temperature
from discrete_lightning.nas.choice import ArchitectureChoice
from discrete_lightning.nas.operations import Zero
from discrete_lightning.protocols import PrunesAfterDerive


class OneOf(nn.Module):
    """A choice among modules of the same inputs and output shape.

    In training a sample of its choice says what runs: a new one, or the one that `one_draw` or `expected_loss` fixed for all
    layers. With one-hot samples only the chosen module runs, which saves time and memory; with mixtures (GumbelSoftmax,
    Softmax) all modules run. In eval() the decided module runs. `derive` replaces the OneOf by that module.

    Under DistributedDataParallel modules that were not chosen have no gradient: `find_unused_parameters=True`.

    Args:
        modules: the options.
        choice: an ArchitectureChoice to share with other layers; a new one by default.
        row: which of the choices in `choice`.
        estimator: of a new ArchitectureChoice; StraightThroughGumbel by default.
        temperature: of a new ArchitectureChoice.
        single_path: False runs and mixes all options, by any pathwise estimator; None leaves it to the estimator.

    Raises:
        ValueError: if there is nothing to choose from, or a shared choice has another number of options, or outputs of two
            options have different shapes.

    Example:
        >>> layer = OneOf([torch.nn.Linear(4, 4), torch.nn.Identity()])
        >>> layer(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        choice: ArchitectureChoice | None = None,
        row: int = 0,
        *,
        estimator: Estimator | None = None,
        temperature: Temperature | float = 1.0,
        single_path: bool | None = None,
    ) -> None:
        super().__init__()
        self.options = nn.ModuleList(modules)
        if not len(self.options):
            raise ValueError("OneOf needs one module or more to choose from, got none")
        if choice is None:
            choice = ArchitectureChoice(_names(self.options), 1, estimator, temperature)
        elif len(choice.options) != len(self.options) or not 0 <= row < choice.count:
            raise ValueError(
                f"OneOf has {len(self.options)} modules and row {row}; its choice has {choice.count} rows of "
                f"{len(choice.options)} options ({', '.join(choice.options)})"
            )
        elif estimator is not None:
            raise ValueError("a shared choice has its own estimator: give one of choice and estimator")
        self.choice, self.row, self.single_path = choice, row, single_path
        self._shapes: dict[Any, tuple[str, torch.Size]] = {}

    def extra_repr(self) -> str:
        return f"row={self.row}"

    def forward(self, *inputs: Any) -> Tensor:
        draw = self.choice.current()
        single_path = not self.choice.mixes if self.single_path is None else self.single_path
        if draw.decision:
            return self._run(draw.indices[self.row], inputs)
        weights = draw.sample[self.row]
        if not single_path:
            outputs = self.run_all(*inputs)
            return sum(weight.to(y.dtype) * y for weight, y in zip(weights, outputs, strict=True))
        if self.choice.mixes:
            raise ValueError(
                f"{self.choice.sampler.estimator} gives mixtures, and single_path=True runs one module: take an estimator of "
                "one-hot samples, such as StraightThroughGumbel or ReinMax, or single_path=False"
            )
        chosen = draw.indices[self.row]
        output = self._run(chosen, inputs)
        return output * weights[chosen].to(output.dtype) if weights.requires_grad else output

    def run_all(self, *inputs: Any) -> list[Tensor]:
        """The output of every option."""
        return [self._run(index, inputs) for index in range(len(self.options))]

    def derived(self) -> nn.Module:
        """The decided module."""
        return self.options[self.choice.current().indices[self.row]]

    def _run(self, index: int, inputs: tuple[Any, ...]) -> Tensor:
        output = self.options[index](*inputs)
        if not isinstance(output, Tensor):
            raise TypeError(f"an option of OneOf returns one tensor; {self._name(index)} gave {type(output).__name__}")
        given = tuple(each.shape if isinstance(each, Tensor) else None for each in inputs)
        name, shape = self._shapes.setdefault(given, (self._name(index), output.shape))
        if output.shape != shape:
            raise ValueError(
                f"options of one OneOf must give one shape: of inputs {[tuple(each or ()) for each in given]}, {name} makes "
                f"{tuple(shape)} and {self._name(index)} makes {tuple(output.shape)}; give both the same stride and width"
            )
        if len(self._shapes) > 8:  # variable sizes: remember the last few
            del self._shapes[next(iter(self._shapes))]
        return output

    def _name(self, index: int) -> str:
        return self.choice.options[index]


def _names(modules: Iterable[nn.Module]) -> list[str]:
    """Class names in lower case, numbered where there are several of one class."""
    kinds = [type(module).__name__.lower() for module in modules]
    return [kind if kinds.count(kind) == 1 else f"{kind}{i}" for i, kind in enumerate(kinds)]


def derive(module: nn.Module) -> nn.Module:
    """The discrete network with its weights: a copy in which every OneOf is the module it decided for, and no logits are left.

    A module with a method `prune_after_derive` (`protocols.PrunesAfterDerive`) then drops what it no longer uses.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 4), OneOf([torch.nn.Identity(), torch.nn.Tanh()]))
        >>> derive(network)
        Sequential(
          (0): Linear(in_features=4, out_features=4, bias=True)
          (1): Identity()
        )
    """
    training = module.training
    result = _replace(copy.deepcopy(module).eval(), {})
    return result.train(training)


def skip_share(module: nn.Module) -> float:
    """Fraction of the decided operations that are skip connections; edges decided as the operation `none` are not counted.

    A skip connection is an `nn.Identity`, or an option whose name starts with "skip"; the operation `none` (no connection) is
    an option of that name, or a `Zero`. 0 if every edge is `none`.

    Example:
        >>> skip_share(OneOf([torch.nn.Identity(), torch.nn.Tanh()]))
        1.0
    """
    decided = [kind for kind in _decided_kinds(module) if kind != "none"]
    return decided.count("skip") / max(1, len(decided))


def is_disconnected(module: nn.Module) -> bool:
    """Whether every OneOf in `module` decided for the operation `none` (no connection)."""
    return set(_decided_kinds(module)) <= {"none"}


def _decided_kinds(module: nn.Module) -> list[str]:
    """What each row of each choice decided for: "none", "skip" or "other". A row that several layers share counts once."""
    layers = [each for each in module.modules() if isinstance(each, OneOf)]
    decided = {choice: choice.decide() for choice in {layer.choice for layer in layers}}
    kinds: dict[tuple[ArchitectureChoice, int], str] = {}
    for layer in layers:
        index = decided[layer.choice][layer.row]
        name, option = layer.choice.options[index], layer.options[index]
        kind = "skip" if name.startswith("skip") or isinstance(option, nn.Identity) else "other"
        kinds.setdefault((layer.choice, layer.row), "none" if name == "none" or isinstance(option, Zero) else kind)
    return list(kinds.values())


def _replace(module: nn.Module, known: dict[int, nn.Module]) -> nn.Module:
    if id(module) in known:
        return known[id(module)]
    result = known[id(module)] = module.derived() if isinstance(module, OneOf) else module
    if result is not module:
        result = known[id(module)] = _replace(result, known)
    for name, child in list(result._modules.items()):
        if child is None:
            continue
        if isinstance(child, ArchitectureChoice):
            del result._modules[name]
        else:
            result._modules[name] = _replace(child, known)
    if isinstance(result, PrunesAfterDerive):
        result.prune_after_derive()
    return result
