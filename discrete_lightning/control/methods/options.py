"""Which options of an agent go together with which method."""

from collections.abc import Mapping

from discrete_lightning.control.methods.base import ControlMethod
from discrete_lightning.estimators import Estimator


def check_options(
    method: ControlMethod, estimator: Estimator | None, returns: Mapping[str, bool], normed: bool, discounted: bool
) -> None:
    """Refuses what would have no effect, or another one than its name says.

    Args:
        method: of the agent.
        estimator: that was given.
        returns: options that act on returns, and whether each was changed.
        normed: whether logits are normed.
        discounted: whether steps weigh gamma^t.

    Raises:
        ValueError: if they do not go together.
    """
    name = type(method).__name__
    if estimator is not None and not method.path:
        raise ValueError(
            f"{name} differentiates log-probabilities and has no estimator, got {estimator}: an estimator is for method Path, "
            "through a differentiable environment"
        )
    if method.path and any(returns.values()):
        changed = ", ".join(option for option, is_changed in returns.items() if is_changed)
        raise ValueError(f"{name} descends a cost and has no returns: leave {changed} at the default")
    if method.path and normed:
        raise ValueError(
            f"{name} passes few states at a time, by which a norm of the logits would take most of their gradient: set "
            "normed=False, and no learned temperature"
        )
    if discounted and not method.weighs_steps:
        raise ValueError(f"{name} does not weigh steps by gamma^t: set discounted=False")
