"""One estimator for all layers of a module that sample."""

from torch import nn

from discrete_lightning.estimators import Estimator
from discrete_lightning.layers.relaxed import Relaxed


def use_estimator(module: nn.Module, estimator: Estimator) -> None:
    """Gives this estimator to every layer in `module` that samples (every `Relaxed`).

    Raises:
        ValueError: if there is no such layer, or it cannot use the estimator.

    Example:
        >>> from discrete_lightning.estimators import GumbelSoftmax
        >>> from discrete_lightning.layers.relaxed import RelaxedCategorical
        >>> layer = RelaxedCategorical()
        >>> use_estimator(layer, GumbelSoftmax())
        >>> layer.estimator
        GumbelSoftmax()
    """
    layers = [layer for layer in module.modules() if isinstance(layer, Relaxed)]
    if not layers:
        raise ValueError(
            f"{type(module).__name__} has no layer that samples, so the estimator {estimator} would do nothing; "
            "leave the estimator out, or take a quantiser that samples, such as GumbelQuantizer"
        )
    for layer in layers:
        layer.set_estimator(estimator)
