"""Pattern masks on the layers of any module, and back to plain layers."""

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from discrete_lightning.estimators import Estimator
from discrete_lightning.functional._arguments import check_not_negative
from discrete_lightning.layers.temperature import LossWeight, Temperature
from discrete_lightning.selection.pattern_mask import PatternMask, check_shape, magnitude_pattern

MASKED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def maskable(module: nn.Module, m: int = 4, only: str | list[str] | None = None) -> dict[str, nn.Module]:
    """The layers of a module that take pattern masks, by name: Linear and convolutions.

    Args:
        module: any; it may itself be such a layer, whose name is "".
        m: weights of a group.
        only: glob patterns of names (`blocks.*`); all if None.

    Raises:
        ValueError: if there is none, m does not divide the inputs of one, or its weight is shared with another module or
            parametrized.
    """
    patterns = [only] if isinstance(only, str) else only
    layers = {name: each for name, each in module.named_modules() if isinstance(each, MASKED)}
    found: dict[str, nn.Module] = {
        name: each for name, each in layers.items() if patterns is None or any(fnmatchcase(name, p) for p in patterns)
    }
    if not found:
        there = f"it has {', '.join(layers)}" if layers else "it has no Linear or convolution"
        raise ValueError(f"nothing in {type(module).__name__} matches only={only}: {there}")
    uses = Counter(id(each) for _, each in module.named_parameters(remove_duplicate=False))
    for name, layer in found.items():
        where = f"{type(layer).__name__} {name!r}"
        if parametrize.is_parametrized(layer, "weight"):
            raise ValueError(
                f"the weight of {name!r} is parametrized already: remove_masks first, or leave it out by `only`"
            )
        weight = layer.weight
        assert isinstance(weight, Tensor)
        check_shape(weight.shape, m, f"the weight of {where}")
        if uses[id(weight)] > 1:
            raise ValueError(
                f"the weight of {where} is shared, so that a mask would change another layer, too: leave it out by `only`"
            )
    return found


def mask_linear(
    module: nn.Module,
    n: int = 2,
    m: int = 4,
    estimator: Estimator | None = None,
    only: str | list[str] | None = None,
    temperature: Temperature | float = 1.0,
    scale: LossWeight | float = 1.0,
    prior: float = 3.0,
    train_weights: bool = False,
) -> dict[str, PatternMask]:
    """Puts a `PatternMask` on the weight of every Linear and convolution in a module; masks start as `magnitude_pattern`.

    All masks share one temperature and one scale. Masks are drawn in training mode alone: call `module.train()`. What is left
    to train are the masks' logits:

        masks = mask_linear(network)
        optimizer = torch.optim.Adam([each.logits for each in masks.values()], lr=0.1)

    Args:
        module: changed in place.
        n: weights kept of a group, 1 <= n < m.
        m: weights of a group, along the input dimension.
        estimator: see PatternMask; `GumbelSoftmax` by default.
        only: glob patterns of names of layers (`blocks.*`); all if None.
        temperature: of the estimator, a Temperature or a number.
        scale: kappa, a LossWeight or a number.
        prior: strength of the prior of the magnitude pattern, see `PatternMask.set_prior`.
        train_weights: whether the module's own parameters stay as they are; by default all of them are frozen.

    Returns:
        The masks by the names of their layers.

    Raises:
        ValueError: if there is no such layer, m does not divide the inputs of one, its weight is shared or parametrized, or an
            argument is out of range; the module is then unchanged.

    Example:
        >>> network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> masks = mask_linear(network)
        >>> [each.logits.shape for each in masks.values()]
        [torch.Size([32, 6]), torch.Size([16, 6])]
        >>> _ = remove_masks(network.eval())
        >>> int((network[0].weight != 0).sum())
        64
    """
    layers = maskable(module, m, only)
    check_not_negative(prior=prior)
    temperature = temperature if isinstance(temperature, Temperature) else Temperature(temperature)
    scale = scale if isinstance(scale, LossWeight) else LossWeight(scale)
    masks = {}
    for name, layer in layers.items():
        weight = layer.weight
        assert isinstance(weight, Tensor)
        mask = PatternMask(tuple(weight.shape), n, m, estimator, temperature, scale).to(weight.device)
        mask.set_prior(magnitude_pattern(weight, n, m), prior)
        masks[name] = mask
    if not train_weights:
        module.requires_grad_(False)
    for name, layer in layers.items():
        masks[name].eval()  # parametrize looks at a first result, which needs no draw
        parametrize.register_parametrization(layer, "weight", masks[name])
        masks[name].train(layer.training)
    return masks


def remove_masks(module: nn.Module) -> nn.Module:
    """Makes the layers plain again, with the masked weights of eval() as their weights.

    The output is that of the masked module in eval(), to the bit; the state dict has the keys it had before `mask_linear`.

    Args:
        module: changed in place. Its parameters stay frozen if `mask_linear` has frozen them.

    Returns:
        The module.

    Raises:
        ValueError: if it has no masks, or a weight has another parametrization on top of one.
    """
    masked = list(_masked(module))
    if not masked:
        raise ValueError(f"{type(module).__name__} has no pattern masks to remove: mask_linear puts them there")
    for name, layer, _ in masked:
        if len(_parametrizations(layer)) > 1:
            raise ValueError(f"the weight of {name!r} has further parametrizations: remove them first")
    for _, layer, mask in masked:
        order = ["weight", *layer._parameters]
        mask.eval()
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        layer._parameters = {name: layer._parameters[name] for name in order}  # as it was made: optimisers go by it
    return module


def pattern_masks(module: nn.Module) -> dict[str, PatternMask]:
    """The masks that `mask_linear` has put on a module, by the names of their layers."""
    return {name: mask for name, _, mask in _masked(module)}


def kept_weight_bonus(module: nn.Module) -> Tensor:
    """E sum |weight * mask|^2 over all masks of a module, 0-dim float32: loss - 1e-5 * kept_weight_bonus(module).

    It keeps the weights that are left large, so that gradients stay so: the last term of MaskLLM's loss. The expectation is
    exact (`PatternMask.kept`); the authors take one draw.

    Raises:
        ValueError: if the module has no masks.

    Example:
        >>> layer = nn.Linear(4, 1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([3.0, 1.0, 0.0, 0.0]))
        >>> _ = mask_linear(layer, prior=20.0)
        >>> round(kept_weight_bonus(layer).item(), 3)
        10.0
    """
    terms = [mask.kept(_parametrizations(layer).original) for _, layer, mask in _masked(module)]
    if not terms:
        raise ValueError(f"{type(module).__name__} has no pattern masks: mask_linear puts them there")
    return torch.stack(terms).sum()


def _masked(module: nn.Module) -> Iterator[tuple[str, nn.Module, PatternMask]]:
    for name, each in module.named_modules():
        if parametrize.is_parametrized(each, "weight"):
            first = _parametrizations(each)[0]
            if isinstance(first, PatternMask):
                yield name, each, first


def _parametrizations(layer: nn.Module) -> Any:
    return layer.parametrizations["weight"]  # type: ignore[index]
